"""How long a completion is: punished when it overruns, when it repeats itself, when it says
nothing.
"""

import math
from typing import Literal

from pydantic import Field, model_validator

from onecard.types import Rollout, Score
from rewards.answer import AnswerFormat, grade
from rewards.base import Reward
from rewards.format import reasoning


class Overlong(Reward):
    """DAPO's soft punishment (arXiv 2503.14476, eq. 13): 0 up to max - buffer tokens, falling to -1
    at max and beyond.

    Pays nothing ever, so it cannot be farmed; an answer cut short to escape it loses
    correct_answer.
    """

    name: Literal["overlong"]
    max_tokens: int = Field(ge=2)
    buffer_tokens: int = Field(ge=1)

    @model_validator(mode="after")
    def check(self) -> "Overlong":
        if self.buffer_tokens >= self.max_tokens:
            raise ValueError(
                f"buffer_tokens {self.buffer_tokens} must be smaller than max_tokens"
                f" {self.max_tokens}"
            )
        return self

    def score(self, rollout: Rollout) -> Score:
        over = rollout.tokens - (self.max_tokens - self.buffer_tokens)
        return Score(max(-1.0, min(0.0, -over / self.buffer_tokens)))


class CosineLength(Reward):
    """Right answers pay more the shorter they are, wrong ones cost less the longer (arXiv
    2502.03373, section 3.2).

    Right: 1.0 at no tokens down to 0.5 at `max_tokens`. Wrong: -1.0 up to -0.5, so that thinking on
    is worth a try. Gamed by short guesses where those are often right; guarded by the cost of a
    short wrong one.
    """

    name: Literal["cosine_length"]
    max_tokens: int = Field(ge=1)
    answer_format: AnswerFormat = "auto"

    def score(self, rollout: Rollout) -> Score:
        falling = (
            1 + math.cos(math.pi * min(1.0, rollout.tokens / self.max_tokens))
        ) / 2  # 1 at no tokens, 0 at max
        right = grade(rollout.text, rollout.sample.gold, self.answer_format).value == 1.0
        return Score(0.5 + 0.5 * falling if right else -0.5 - 0.5 * falling)


class Repetition(Reward):
    """Costs up to 1: the share of word n-grams that are repeats of earlier ones (arXiv 2502.03373,
    appendix).

    Pays nothing ever; a text too short for one n-gram costs nothing. Words are what white space
    separates, so a text without spaces escapes it.
    """

    name: Literal["repetition"]
    ngram: int = Field(default=3, ge=1, le=20)

    def score(self, rollout: Rollout) -> Score:
        words = rollout.text.lower().split()
        grams = list(zip(*(words[start:] for start in range(self.ngram)), strict=False))
        return Score(len(set(grams)) / len(grams) - 1 if grams else 0.0)


class TooShort(Reward):
    """Costs 1 when the working has fewer than `min_words` words: an answer without a working. Pays
    nothing ever.

    Gamed by filler; guarded by repetition, beside which `robust` uses it. Words are what white
    space separates.
    """

    name: Literal["too_short"]
    min_words: int = Field(default=10, ge=1)

    def score(self, rollout: Rollout) -> Score:
        return Score(-1.0 if len(reasoning(rollout).split()) < self.min_words else 0.0)
