"""A few supervised steps before GRPO: where every sample scores zero, there is nothing to
reinforce.
"""

from onecard.callbacks import ShowWarmup
from onecard.console.display import Display
from onecard.policy import Policy, load_full_model, load_policy
from onecard.recipe import Recipe
from onecard.runs import Run
from onecard.trainer import build_warmup_trainer
from onecard.training_state import load_adapter
from onecard.types import Sample

WARMED_UP = "warmed-up-adapter"


def warm_up(
    recipe: Recipe, weights: str, samples: list[Sample], run: Run, display: Display
) -> Policy:
    """The policy of `weights` after the recipe's warm-up, ready for GRPO. What it trained is kept
    in the run folder, and not trained twice.

    `trains: adapter` trains the policy's own adapter; `trains: all_weights` trains the whole model
    in 32 bit and loads it again as the quantized base of a fresh adapter.
    """
    assert recipe.warmup is not None
    everything = recipe.warmup.trains == "all_weights"
    kept = run.folder / ("base-model" if everything else WARMED_UP)
    if kept.is_dir():
        display.say(f"the warm-up is done already: {kept}")
        policy = load_policy(recipe, str(kept) if everything else weights, run.folder)
        if not everything:
            load_adapter(policy.model, kept)
        return policy
    policy = (
        load_full_model(recipe, weights) if everything else load_policy(recipe, weights, run.folder)
    )
    with display.phase("warm-up", recipe.warmup.max_steps) as tick:
        build_warmup_trainer(
            recipe, policy, samples, run.folder / "checkpoints", [ShowWarmup(tick)]
        ).train()
    policy.save(kept)
    return load_policy(recipe, str(kept), run.folder) if everything else policy
