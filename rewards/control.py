"""Rewards that must teach nothing: what a run is compared with."""

import random
from typing import Literal

from pydantic import PrivateAttr

from onecard.types import Rollout, Score
from rewards.base import Reward


class RandomReward(Reward):
    """Pays 0 or 1 by a coin. Accuracy that rises under it would mean that the measurement is broken."""

    name: Literal["random"]
    coin_seed: int = 0
    _coin: random.Random = PrivateAttr()

    def model_post_init(self, context: object) -> None:
        self._coin = random.Random(self.coin_seed)

    def score(self, rollout: Rollout) -> Score:
        return Score(float(self._coin.random() < 0.5))
