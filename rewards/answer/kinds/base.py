"""What every kind of answer is."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any


class Kind:
    """One kind of gold answers. A gold is text; a structured one is JSON text.

    `wanted` ends the sentence "the answer must be ...". `longest`: characters of a declared answer;
    what is longer is wrong.
    """

    wanted = "text"
    longest = 300

    def read_gold(self, value: Any) -> str | None:
        """A row's value as a gold; None where it is none of this kind."""
        raise NotImplementedError

    def equal(self, answer: str, gold: str) -> bool | None:
        """Whether a declared answer is the gold; None where that could not be decided in time.

        Never raises, whatever the answer is.
        """
        raise NotImplementedError

    def judge(self, answer: str, gold: str, columns: Mapping[str, Any]) -> bool | None:
        """As `equal`, for a kind that needs more of the row than its gold. Never raises."""
        return self.equal(answer, gold)

    def written(self, gold: str) -> str:
        """A gold as a model would write it."""
        return gold

    def another(self, gold: str) -> str:
        """An answer of this kind that is not the gold, for the self-test of rewards."""
        return "something else"

    def clash(self, golds: Sequence[str]) -> str | None:
        """What is wrong with the golds of a data set taken together, as a sentence; else None."""
        return None


def as_text(value: Any) -> str | None:
    """A value of one piece as the text that a person would write; None for a structured one."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")  # without an exponent, as short as it reads back
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date | time):
        return value.isoformat()
    return None


def as_json(value: Any) -> str:
    """JSON text. What Parquet has and JSON has not, dates and decimals, is text in it."""
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)
