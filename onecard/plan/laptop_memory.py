"""How much memory a recipe takes on a CPU, phase by phase, by arithmetic.

bench/laptop_memory.py holds it against what runs take: docs/laptop-memory.md.
"""

from onecard.machine.gpu import GIB
from onecard.machine.model_shapes import ModelShape
from onecard.machine.precision import Precision
from onecard.model.section import ALL_LINEAR
from onecard.plan.memory import NF4_BYTES, ranker, teachers, weight_bytes
from onecard.recipe.schema import Recipe
from onecard.stages.sections.base import Load
from rewards.judges.reward_model import RewardModel

PROCESS = 0.6 * GIB  # Python with Unsloth, TRL and torch
# Of one block, what its forward pass keeps for the backward pass, counted tensor by tensor: numbers
# a token, by what they are as wide as, in the precision of the run. Beside them what the norms
# compute in 32 bit.
KEPT = {"mlp": 3, "queries": 1, "keys": 2}
NORMS = 2  # numbers a token of the hidden size, in 32 bit
# What each LoRA layer takes in, in 32 bit. Where the run computes in 32 bit too, layers with the
# same input share it; in 16 bit each makes a copy of its own.
TAKEN_IN = {
    ("q_proj", "k_proj", "v_proj"): "hidden",
    ("o_proj",): "queries",
    ("gate_proj", "up_proj"): "hidden",
    ("down_proj",): "mlp",
}
HEAD_ROWS = 341  # tokens that TRL's loss takes through the last layer at once
HEAD_COPIES = 3  # of their scores for the whole vocabulary
# Of the scores of all tokens of completions, in 32 bit, where a teacher's are compared with them:
# both models' scores, their logarithms, the distances, and what the backward pass makes of them.
COMPARED_COPIES = 8
DRAWN_COPIES = 5  # of a batch's scores, in 32 bit, while the next tokens are drawn
# What the allocator holds, of what is used at once: more of texts, whose length changes from step
# to step, than of completions, which are about as long in each one.
HELD, HELD_OF_TEXTS = 1.3, 1.8


def plan_laptop(recipe: Recipe, shape: ModelShape, precision: Precision) -> dict[str, float]:
    """Bytes at the peak of each phase of a run."""
    width = 4 if precision == "fp32" else 2
    data = recipe.data
    held = PROCESS + weights(recipe, shape, width) + adapter(recipe, shape)
    for reward in recipe.rewards:
        if isinstance(reward, RewardModel):
            held += weight_bytes(reward, recipe, width) * copies_of(reward)
    held += sum(teachers(recipe, width).values())
    asked = recipe.eval.batch_size
    asking = generation(
        asked,
        asked * data.max_prompt_length,
        data.max_prompt_length + recipe.eval.max_completion_length,
        recipe,
        shape,
        width,
    )
    phases = {
        name.upper(): of_stage(load, recipe, shape, width) for name, load in recipe.loads.items()
    }
    phases["evaluation"] = HELD * asking
    return {name: held + size for name, size in phases.items()}


def of_stage(load: Load, recipe: Recipe, shape: ModelShape, width: int) -> float:
    """What the steps of a stage take: the larger of training and drawing completions."""
    prompt, rows = recipe.data.max_prompt_length, load.rows
    completion = load.completion_length or recipe.longest_completion
    # A prompt is read once for a group, but for gradient checkpointing, which saves nothing here.
    shared = load.group > 1 and not recipe.gradient_checkpointing
    prompts = max(1, rows // load.group) if shared else rows
    training = backward(prompts * prompt + rows * completion, recipe, shape, width)
    if shared:
        training += attention(rows, recipe, completion, shape, width)
    training += ranker(recipe, load)
    if load.teacher:
        training += rows * completion * shape.vocab_size * 4 * COMPARED_COPIES
    if not load.sampled:
        return HELD_OF_TEXTS * training
    read = load.sampled // load.group * prompt
    drawing = generation(load.sampled, read, prompt + completion, recipe, shape, width)
    return HELD * max(training, drawing)


def copies_of(reward: RewardModel) -> int:
    """Of a model that learns the newest step is kept for a checkpoint, beside the one before it."""
    return 3 if reward.learns else 1


def weights(recipe: Recipe, shape: ModelShape, width: int) -> float:
    linear = NF4_BYTES if recipe.model.load_in_4bit else width
    return shape.linear_parameters * linear + shape.other_parameters * width


def adapter(recipe: Recipe, shape: ModelShape) -> float:
    """Its weights, gradients and the optimizer's two moments, in 32 bit."""
    targets = recipe.lora.target_modules
    names = shape.linears if targets == ALL_LINEAR else targets
    return shape.lora_parameters(recipe.lora.rank, names) * 16.0


def backward(tokens: int, recipe: Recipe, shape: ModelShape, width: int) -> float:
    """What a forward pass over so many tokens keeps, and the last layer's piece beside it."""
    widths = shape.widths
    block = sum(count * widths[kind] * width for kind, count in KEPT.items())
    block += NORMS * widths["hidden"] * 4
    targets = recipe.lora.target_modules
    for names, kind in TAKEN_IN.items():
        layers = [name for name in names if targets == ALL_LINEAR or name in targets]
        inputs = len(layers) if width < 4 else min(1, len(layers))
        block += inputs * widths[kind] * 4
        block += len(layers) * recipe.lora.rank * 4
    if width < 4:
        block += widths["queries"] * width  # attention's outcome, which o_proj has a copy of
    head = min(tokens, HEAD_ROWS) * shape.vocab_size * 4 * HEAD_COPIES
    return float(tokens * block * shape.num_hidden_layers + head)


def attention(rows: int, recipe: Recipe, completion: int, shape: ModelShape, width: int) -> float:
    """What completions keep of their prompts: keys and values, twice, and a number for each pair
    of tokens and head."""
    prompt = recipe.data.max_prompt_length
    keys = prompt * 2 * 2 * shape.widths["keys"]
    pairs = shape.num_attention_heads * completion * (prompt + completion)
    return rows * (keys + pairs) * width * shape.num_hidden_layers


def generation(
    rows: int, prompt_tokens: int, longest: int, recipe: Recipe, shape: ModelShape, width: int
) -> float:
    """Keys and values, the scores of the next tokens, and 4-bit weights that are unpacked."""
    cache = rows * longest * shape.cache_per_token * width
    reading = prompt_tokens * sum(shape.widths.values()) * width * 3
    drawing = rows * shape.vocab_size * 4 * DRAWN_COPIES
    unpacked = shape.linear_parameters * width if recipe.model.load_in_4bit else 0
    return cache + max(reading, drawing) + unpacked
