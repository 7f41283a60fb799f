"""Verifiable rewards: what a completion is paid for. Importable without torch, safe on any text a model can write."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from onecard.types import Sample, Score
from rewards.answer import grade
from rewards.format import think_format

Scorer = Callable[[str, Sample], Score]


@dataclass(frozen=True)
class Reward:
    """A name, a weight, and `score(completion, sample) -> Score`; the value paid is weight x Score.value."""

    name: str
    weight: float
    score: Scorer


def correct_answer(seed: int) -> Scorer:
    """Pays 1 for the right declared answer, 0 for all else; the reasoning is not looked at.

    Gamed by guessing where few answers are possible; guarded by reading one declared answer and never the working.
    """
    return lambda completion, sample: grade(completion, sample.gold)


def format_only(seed: int) -> Scorer:
    """Pays 1 for one think block followed by one answer block and nothing else.

    Gamed by an empty or wrong answer in perfect form; so keep its weight well below correct_answer's.
    """
    return lambda completion, sample: Score(think_format(completion))


def random_reward(seed: int) -> Scorer:
    """Pays 0 or 1 by a coin: the control. Accuracy that rises under it would mean that the measurement is broken."""
    coin = random.Random(seed)
    return lambda completion, sample: Score(float(coin.random() < 0.5))


# name -> a function of the run's seed that gives the scorer
REWARDS: dict[str, Callable[[int], Scorer]] = {
    "correct_answer": correct_answer,
    "think_format": format_only,
    "random": random_reward,
}


def build_rewards(specs: list[tuple[str, float]], seed: int) -> list[Reward]:
    """The rewards that a recipe lists as (name, weight), in its order."""
    return [Reward(name, weight, REWARDS[name](seed)) for name, weight in specs]
