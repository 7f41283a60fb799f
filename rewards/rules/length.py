"""How long a completion is: too long, the same again, or too short."""

import math
from typing import Literal

from pydantic import Field, model_validator

from onecard.types import Rollout, Score
from rewards.answer.grader import is_right
from rewards.base import Rule
from rewards.rules.format import reasoning


class Overlong(Rule):
    """DAPO's soft punishment (arXiv 2503.14476, eq. 13): 0 to -1 for what is too long.

    It costs nothing up to max - buffer tokens, and 1 at max and beyond. Pays nothing ever, so it
    cannot be farmed; an answer cut short to escape it loses correct_answer.
    """

    only_costs = True

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


class CosineLength(Rule):
    """Right answers pay more the shorter they are, wrong ones cost less the longer they are.

    arXiv 2502.03373, section 3.2. Right: 1.0 at no tokens down to 0.5 at `max_tokens`. Wrong: -1.0
    up to -0.5, so that thinking on is worth a try. Gamed by short guesses where those are often
    right; guarded by the cost of a short wrong one.
    """

    name: Literal["cosine_length"]
    max_tokens: int = Field(ge=1)

    def score(self, rollout: Rollout) -> Score:
        share = min(1.0, rollout.tokens / self.max_tokens)
        falling = (1 + math.cos(math.pi * share)) / 2  # 1 at no tokens, 0 at max_tokens
        paid = 0.5 + 0.5 * falling
        return Score(paid if is_right(rollout) else -paid)


class TooShort(Rule):
    """Costs 1 when the working has fewer than `min_words` words: an answer without a working.

    Pays nothing ever. Gamed by filler; guarded by repetition, beside which `robust` uses it. Words
    are what white space separates.
    """

    only_costs = True

    name: Literal["too_short"]
    min_words: int = Field(default=10, ge=1)

    def score(self, rollout: Rollout) -> Score:
        return Score(-1.0 if len(reasoning(rollout).split()) < self.min_words else 0.0)
