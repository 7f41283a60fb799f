"""How long a recipe may take on a card, by arithmetic: a guess within a factor of two or so.

The display replaces it from step 1 on.
"""

from dataclasses import dataclass

from onecard.machine.model_shapes import ModelShape
from onecard.plan.memory import NF4_BYTES
from onecard.recipe.schema import Recipe


@dataclass(frozen=True)
class CardSpeed:
    """`bandwidth` in bytes/s, `compute` in 16-bit tensor operations/s with 32-bit sums, dense:
    NVIDIA's data sheets.
    """

    name: str
    bandwidth: float
    compute: float


SPEEDS = {
    8: CardSpeed("RTX 4060", 272e9, 30e12),
    12: CardSpeed("RTX 3060", 360e9, 25e12),
    16: CardSpeed("RTX 4060 Ti", 288e9, 44e12),
    24: CardSpeed("RTX 3090", 936e9, 71e12),
}
# Assumed: shares of those that are reached, and how much of the token limit a completion uses.
BANDWIDTH_REACHED = 0.3
COMPUTE_REACHED = 0.25
LENGTH_USED = 0.5


def estimate_seconds(recipe: Recipe, shape: ModelShape, card_gb: int) -> dict[str, float]:
    """Seconds of generation and of training, for all of GRPO, on a card of that size.

    {} for a recipe without GRPO: nothing is known of the others' pace.
    """
    speed, grpo = SPEEDS[card_gb], recipe.grpo
    if grpo is None:
        return {}
    written = LENGTH_USED * grpo.max_completion_length
    weights = (
        shape.linear_parameters * (NF4_BYTES if recipe.model.load_in_4bit else 2)
        + shape.other_parameters * 2
    )
    cache = (
        grpo.completions_per_step
        * (recipe.data.max_prompt_length / 2 + written / 2)
        * shape.cache_per_token
        * 2
    )
    generation = written * (weights + cache) / (speed.bandwidth * BANDWIDTH_REACHED)
    tokens = grpo.completions_per_step * (recipe.data.max_prompt_length / 2 + written)
    # Forward 2, again for the checkpoints 2, and backward 2 operations a weight and token: frozen
    # weights get no gradient of their own; with a KL term the reference's forward pass as well.
    passes = 6 + (2 if grpo.beta else 0)
    training = passes * shape.parameters * tokens / (speed.compute * COMPUTE_REACHED)
    steps = grpo.iterate * grpo.max_steps
    rollouts = steps / grpo.num_iterations
    return {"generation": rollouts * generation, "training": steps * training}
