"""Rewards that must teach nothing: what a run is compared with."""

import random
from typing import Literal

from onecard.types import Rollout, Score
from rewards.base import Rule


class RandomReward(Rule):
    """Pays 0 or 1 by a coin. Accuracy that rises under it would mean that the measurement is
    broken.

    How a coin falls depends on the rollout's place in the run alone: a resumed run is paid as it
    would have been.
    """

    name: Literal["random"]
    coin_seed: int = 0

    def score(self, rollout: Rollout) -> Score:
        return Score(float(random.Random(f"{self.coin_seed} {rollout.place}").random() < 0.5))
