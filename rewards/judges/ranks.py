"""Pairs of a right and a wrong completion of one problem: whose score is higher?"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

CHANCE = 0.5  # of pairs in order, by a coin
PARTS = 1000  # of which a share of the problems is held out


@dataclass(frozen=True)
class Judged:
    """A completion that was not trained on, and its score.

    `group`: which ones are compared. `length`: in characters.
    """

    group: str
    right: bool
    length: int
    score: float


def is_held_out(problem: str, share: float, seed: int) -> bool:
    """Whether a problem is among those that are not trained on: all its completions, or none."""
    place = zlib.crc32(f"{seed}/{problem}".encode()) % PARTS
    return place < share * PARTS


def sigmoid(score: float) -> float:
    """The chance that a score stands for, as the losses have it."""
    return 1 / (1 + math.exp(-score)) if score > -700 else 0.0


def pairs_of(judged: Sequence[Judged]) -> list[list[tuple[float, float]]]:
    """For each problem that has both, the scores of every right and wrong completion."""
    sides: dict[str, tuple[list[float], list[float]]] = {}
    for one in judged:
        right, wrong = sides.setdefault(one.group, ([], []))
        (right if one.right else wrong).append(one.score)
    return [list(product(right, wrong)) for right, wrong in sides.values() if right and wrong]


def share_in_order(pairs: Sequence[tuple[float, float]]) -> float:
    """The share of pairs in which the right one has the higher score."""
    return sum(right > wrong for right, wrong in pairs) / len(pairs)
