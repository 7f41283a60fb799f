"""Mathematics as LaTeX writes it, compared by math-verify in a process of its own."""

import re
from decimal import Decimal
from typing import Any

from rewards.answer.kinds.base import Kind, as_text
from rewards.answer.number import PLAIN_NUMBER, read_number
from rewards.answer.symbolic import same_expression

# What mathematics has and words do not: a LaTeX command, a power, an equation, a fraction, a pair.
MATHEMATICS = re.compile(r"\\[A-Za-z]+|[\^=]|[0-9)] ?[/*+] ?[0-9(]|[0-9][a-z]\b|\([^()]*,[^()]*\)")

SLASH_DATE = re.compile(r"[0-9]+/[0-9]+/[0-9]+")


class Expression(Kind):
    """Golds that are plain numbers are compared exactly; all others to six decimals."""

    wanted = "mathematics, as LaTeX writes it"
    has_words = False

    def read_gold(self, value: Any) -> str | None:
        return (None if isinstance(value, bool) else as_text(value)) or None

    def another(self, gold: str) -> str:
        return str(Decimal(gold) + 1) if PLAIN_NUMBER.fullmatch(gold) else "7919"

    def equal(self, answer: str, gold: str) -> bool | None:
        if PLAIN_NUMBER.fullmatch(gold):
            return read_number(answer) == Decimal(gold)
        return same_expression(answer, gold)


def looks_like_mathematics(gold: str) -> bool:
    """Whether a gold is more than words. 05/01/2024 is a date, and nobody divides twice."""
    return bool(MATHEMATICS.search(gold)) and not SLASH_DATE.fullmatch(gold)
