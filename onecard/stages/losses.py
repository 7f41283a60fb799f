"""TRL's losses, and what else each needs. docs/losses.md explains them and names their papers.

Without its companions a loss trains something else, and nothing says so.
"""

from dataclasses import dataclass
from typing import Literal

Loss = Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"]
Level = Literal["token", "sequence"]  # of what the ratio of new to old chances is taken

BY_TOKEN: tuple[Level, ...] = ("token",)
EITHER: tuple[Level, ...] = ("token", "sequence")


@dataclass(frozen=True)
class LossFacts:
    """`levels`: the importance_sampling_level that it is made for.

    `clips`: whether it clips the ratio at 1 - epsilon and 1 + epsilon_high.
    """

    levels: tuple[Level, ...] = EITHER
    clips: bool = True


LOSSES: dict[Loss, LossFacts] = {
    "grpo": LossFacts(),  # with sequence level it is GSPO
    "bnpo": LossFacts(),
    "dr_grpo": LossFacts(),
    "dapo": LossFacts(),
    "cispo": LossFacts(BY_TOKEN, clips=False),
    "sapo": LossFacts(BY_TOKEN, clips=False),
    "luspo": LossFacts(("sequence",)),
    "vespo": LossFacts(BY_TOKEN, clips=False),
}


def check_loss(
    loss: Loss,
    level: Level,
    *,
    epsilon: float,
    epsilon_high: float,
    scale_rewards: str,
    delta: bool,
) -> None:
    """Raise ValueError where a loss lacks what it is made for. `delta`: whether that is set."""
    facts = LOSSES[loss]
    if level not in facts.levels:
        raise ValueError(
            f"loss_type {loss} is made for the ratio of each {facts.levels[0]};"
            f" make importance_sampling_level {facts.levels[0]}"
        )
    if loss == "cispo" and epsilon_high < 1:
        raise ValueError(
            f"loss_type cispo cuts the ratio off at epsilon_high itself, and {epsilon_high} is"
            " below 1, where every ratio begins; make epsilon_high 5.0"
        )
    if facts.clips and epsilon_high < epsilon:
        raise ValueError(
            f"epsilon_high {epsilon_high} is smaller than epsilon {epsilon}; make it at least that"
        )
    if loss == "dr_grpo" and scale_rewards != "none":
        raise ValueError(
            f"loss_type dr_grpo does not divide by the deviation of rewards, and Unsloth's trainer"
            f" for a card would override scale_rewards {scale_rewards}; make scale_rewards none"
        )
    if delta and not facts.clips:
        raise ValueError(f"extra: loss_type {loss} does not use delta; leave it out")
