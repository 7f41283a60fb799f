"""What every reward is: an entry of a recipe, checked by its own schema, that scores one
completion.
"""

import math
from collections.abc import Sequence

from onecard.section import Section
from onecard.types import Rollout, Score, Verdict


class Reward(Section):
    """A name, a weight, and the knobs of its own. What is paid is weight x Score.value.

    `score` is pure: one Rollout in, one Score out, or None where the reward does not apply (TRL
    leaves it out).
    """

    name: str
    weight: float = 1.0

    @property
    def label(self) -> str:
        """What TRL, TensorBoard and messages call it."""
        return self.name

    def score(self, rollout: Rollout) -> Score | None:
        raise NotImplementedError

    def parts(self) -> "list[Reward]":
        """The rewards that this entry stands for: itself, or the parts of a preset."""
        return [self]


def weighted_sum(weights: Sequence[float], values: Sequence[float | None]) -> float:
    """What a completion is paid in all. A reward that does not apply, None or TRL's NaN, counts as
    nothing.
    """
    return sum(
        w * v for w, v in zip(weights, values, strict=True) if v is not None and not math.isnan(v)
    )


def value_of(reward: Reward, rollout: Rollout) -> float | None:
    """A reward's value for one rollout. Raises ValueError where that is neither None nor a finite
    number.
    """
    score = reward.score(rollout)
    if score is None:
        return None
    if not isinstance(score, Score) or not math.isfinite(score.value):
        raise ValueError(f"returned {score!r}, wanted a finite number or None")
    if score.verdict == Verdict.GRADER_ERROR:
        raise TimeoutError(f"math-verify gave no verdict on {score.extracted!r} in time")
    return score.value
