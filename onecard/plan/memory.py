"""How much of a card a recipe takes, phase by phase, by arithmetic. Nothing is measured here.

A run writes the measured peak beside this plan into results.json, so that the assumptions below can
be corrected.
"""

from dataclasses import dataclass

from onecard.machine.gpu import GIB
from onecard.machine.model_shapes import ModelShape, load_shape
from onecard.model.section import ALL_LINEAR
from onecard.recipe.schema import Recipe
from onecard.stages.sections.base import Load
from onecard.stages.sections.reward_model import ALL_TRAINED
from rewards.judges.reward_model import TRAINED, RewardModel

CARDS = (8, 12, 16, 24)  # GB, as they are sold
HELD_BACK = 0.5 * GIB  # of the card: the desktop, the driver
FITS, TIGHT = 0.85, 0.97  # shares of what is left

# Assumed; to be corrected by what runs measure.
CONTEXT = 0.6 * GIB  # the CUDA context of one process with its libraries
CUDA_GRAPHS = 0.5 * GIB  # what vLLM captures, and its own workspace; its sleep does not free them
# In training, at least so much, or such a share of the activations: what the allocator loses,
# CUDA's workspaces, torch.compile.
RESERVE, RESERVE_SHARE = 0.5 * GIB, 0.15
# a weight: 4 bits, 8 bits a block of 64 for its scale, 32 bits for 256 of those (QLoRA, Dettmers et
# al. 2023)
NF4_BYTES = 0.516
OPTIMIZER_BYTES = {
    "adamw_8bit": 2,
    "paged_adamw_8bit": 2,
}  # per trained parameter; every other optimizer 8: two moments in 32 bit

# Counted in the code that a card runs: docs/memory.md.
# Tensors in 16 bit of one block, by what they are as wide as: those at the worst moment of its
# backward pass, and those that it keeps until then where nothing is computed again.
AT_ONCE = {"hidden": 9, "mlp": 3, "queries": 4, "keys": 4}
KEPT = {"hidden": 7, "mlp": 2, "queries": 3, "keys": 3}
# The largest piece of the logits, in 32 bit, that Unsloth has at once on cards up to 24 GB.
HEAD_ROWS, HEAD_COLUMNS = 4096, 16384
# The tiles of TRL's kernel that compares a policy's scores with a teacher's: one of each model in
# 32 bit, and the gradient's in 16.
TILE_ROWS, TILE_COLUMNS, TILE_BYTES = 4096, 32768, 4 + 4 + 2

# What unsloth_zoo 2026.10.9's load_vllm reserves for vLLM on a card of so many GiB or more, of what
# is free, whatever it is asked for.
STANDBY, STANDBY_SHARES = (
    0.95,
    ((40, 0.925), (25, 0.9), (20, 0.825), (14, 0.8), (10, 0.775), (0, 0.75)),
)


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes by part and phase.

    The parts of `always` are there in both phases. The larger phase is the peak.
    """

    always: dict[str, float]
    generation: dict[str, float]
    training: dict[str, float]

    @property
    def phases(self) -> dict[str, float]:
        held = sum(self.always.values())
        return {
            "generation": held + sum(self.generation.values()),
            "training": held + sum(self.training.values()),
        }

    @property
    def peak(self) -> float:
        return max(self.phases.values())

    def verdict(self, card_gb: float) -> str:
        """fits, tight or does not fit, on a card of that many GB."""
        share = self.peak / (card_gb * GIB - HELD_BACK)
        return "fits" if share <= FITS else "tight" if share <= TIGHT else "does not fit"


def plan_memory(recipe: Recipe, shape: ModelShape) -> MemoryPlan:
    """What a recipe takes with a model of that shape.

    With vLLM the weights are shared with training and the cache is given back while training
    (Unsloth's standby), so that only the larger of the two phases counts. Of generation this is the
    least that it needs, a cache for one group of completions at full length: vLLM reserves more
    (vllm_share). Of training it is one micro-batch at full length; completions are scored in passes
    of that size too, which take less.
    """
    loads = recipe.loads.values()
    targets = recipe.lora.target_modules
    names = shape.linears if targets == ALL_LINEAR else targets
    trained = shape.lora_parameters(recipe.lora.rank, names)
    weight_bytes = NF4_BYTES if recipe.model.load_in_4bit else 2.0
    always = {
        "CUDA context": CONTEXT,
        "weights": shape.linear_parameters * weight_bytes + shape.other_parameters * 2,
        "LoRA and its gradients": trained * 8,
        "optimizer": trained * max(OPTIMIZER_BYTES.get(load.optim, 8) for load in loads),
    }
    if recipe.model.fast_inference:
        always |= {"vLLM's CUDA graphs": CUDA_GRAPHS, "vLLM's copy of the LoRA": trained * 2}
    always |= reward_models(recipe) | teachers(recipe, 2.0)
    phases = [sampling(recipe, shape, load) for load in loads]
    generation = max(phases, key=lambda parts: sum(parts.values()))
    activations, beside = max(
        ((backward(recipe, shape, load), ranker(recipe, load)) for load in loads), key=sum
    )
    training = {"activations": activations, "reserve": max(RESERVE, RESERVE_SHARE * activations)}
    if beside:
        training["reward model in training"] = beside
    return MemoryPlan(always, generation, training)


def reward_models(recipe: Recipe) -> dict[str, float]:
    """The weights of reward models on the card; nothing for one whose shape is not known here."""
    found = {}
    for reward in recipe.rewards:
        if isinstance(reward, RewardModel) and reward.device != "cpu":
            found["reward model"] = weight_bytes(reward, recipe, 2.0)
    return found


def teachers(recipe: Recipe, width: float) -> dict[str, float]:
    """The weights of teachers, `width` bytes for a number; nothing where a shape is not known."""
    names = [load.teacher for load in recipe.loads.values() if load.teacher]
    shapes = [shape for name in names if (shape := load_shape(name))]
    numbers = sum(shape.linear_parameters + shape.other_parameters for shape in shapes)
    return {"teacher": numbers * width} if numbers else {}


def ranker(recipe: Recipe, load: Load) -> float:
    """A model that a stage trains to score; nothing where its shape is not known."""
    shape = load_shape(load.ranker or recipe.model.name) if load.ranker_bytes else None
    return float(shape.parameters * load.ranker_bytes) if shape else 0.0


def weight_bytes(reward: RewardModel, recipe: Recipe, width: float) -> float:
    """The weights of a reward model; `width` bytes for a number that is not in 4 bits.

    Of one that goes on learning: gradients and the optimizer's two moments too, all in 32 bit.
    """
    base = recipe.reward_model.base if recipe.reward_model else None
    name = reward.model if reward.model != TRAINED else base or recipe.model.name
    shape = load_shape(name)
    if shape is None:
        return 0.0
    if reward.learns:
        return float(shape.parameters * ALL_TRAINED)
    linear = NF4_BYTES if reward.load_in_4bit else width
    return shape.linear_parameters * linear + shape.other_parameters * width


def sampling(recipe: Recipe, shape: ModelShape, load: Load) -> dict[str, float]:
    """What a stage takes to generate completions."""
    at_once = load.group if load.sampled and recipe.model.fast_inference else load.sampled
    longest = recipe.data.max_prompt_length + (load.completion_length or 0)
    return {
        "KV cache": float(at_once * longest * shape.cache_per_token * 2),
        "sampling": float(at_once * shape.vocab_size * 8),
    }


def backward(recipe: Recipe, shape: ModelShape, load: Load) -> float:
    """The activations of one forward and backward pass of a stage."""
    completion = load.completion_length or recipe.longest_completion
    tokens = load.rows * (recipe.data.max_prompt_length + completion)
    widths = shape.widths
    block = tokens * 2 * sum(count * widths[kind] for kind, count in AT_ONCE.items())
    if recipe.model.load_in_4bit:
        # One layer in 16 bit, forward and backward.
        block += 2 * 2 * max(inputs * outputs for inputs, outputs in shape.linears.values())
    if not recipe.gradient_checkpointing:
        block += (
            tokens
            * 2
            * sum(count * widths[kind] for kind, count in KEPT.items())
            * (shape.num_hidden_layers - 1)
        )
    head = min(tokens, HEAD_ROWS) * min(shape.vocab_size, HEAD_COLUMNS) * 4
    if load.teacher:
        compared = min(load.rows * completion, TILE_ROWS)
        head = compared * min(shape.vocab_size, TILE_COLUMNS) * TILE_BYTES
    return float(max(block, head))


def vllm_share(card_bytes: float) -> float:
    """The share of a card's free memory that Unsloth has vLLM reserve.

    For weights, cache and graphs, where vLLM sleeps while training.
    """
    return round(
        STANDBY * next(share for least, share in STANDBY_SHARES if card_bytes >= least * GIB), 3
    )
