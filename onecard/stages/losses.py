"""TRL's losses: the paper of each, and what else it needs. docs/losses.md explains them.

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
    """`paper`: its number at arXiv. `levels`: the importance_sampling_level that it is made for.

    `clips`: whether it clips the ratio at 1 - epsilon and 1 + epsilon_high.
    """

    paper: str
    levels: tuple[Level, ...] = EITHER
    clips: bool = True


LOSSES: dict[Loss, LossFacts] = {
    "grpo": LossFacts("2402.03300"),  # with sequence level it is GSPO, 2507.18071
    "bnpo": LossFacts("2402.03300"),  # GRPO's, a mean over the tokens of a micro-batch
    "dr_grpo": LossFacts("2503.20783"),
    "dapo": LossFacts("2503.14476"),
    "cispo": LossFacts("2506.13585", BY_TOKEN, clips=False),
    "sapo": LossFacts("2511.20347", BY_TOKEN, clips=False),
    "luspo": LossFacts("2602.05261", ("sequence",)),
    "vespo": LossFacts("2602.10693", BY_TOKEN, clips=False),
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
