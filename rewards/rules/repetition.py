"""Does a completion say the same thing again?"""

from typing import Literal

from pydantic import Field

from onecard.types import Rollout, Score
from rewards.base import Rule


class Repetition(Rule):
    """Costs up to 1: the share of word n-grams that were there before (arXiv 2502.03373, appendix).

    Pays nothing ever; a text too short for one n-gram costs nothing. Words are what white space
    separates, so a text without spaces escapes it.
    """

    only_costs = True

    name: Literal["repetition"]
    ngram: int = Field(default=3, ge=1, le=20)

    def score(self, rollout: Rollout) -> Score:
        words = rollout.text.lower().split()
        grams = list(zip(*(words[start:] for start in range(self.ngram)), strict=False))
        return Score(len(set(grams)) / len(grams) - 1 if grams else 0.0)
