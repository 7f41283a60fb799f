"""What every kind of answer is."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from typing import Any

from onecard.types import Problem
from rewards.answer.markers import declared, marked
from rewards.answer.section import AnswerFormat


class Kind:
    """One kind of gold answers. A gold is text; a structured one is JSON text.

    `wanted` ends the sentence "the answer must be ...". `longest`: characters of a declared answer;
    what is longer is wrong. `has_words`: an answer may look like a heading. `solution_is_answer`:
    the worked solution of a row is what a model has to write, and not the way to it.
    """

    wanted = "text"
    longest = 300
    has_words = True
    solution_is_answer = False

    def ready(self) -> None:
        """Raise UserError, before anything is written, where this machine cannot compare these."""

    def read_row(self, value: Any, problem: Problem) -> str | None:
        """As `read_gold`, for a kind that needs more of the row."""
        return self.read_gold(value)

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

    def declared(self, text: str, answer_format: AnswerFormat, longest: int) -> list[str]:
        """The different answers that a completion declares; see rewards/answer/markers.py."""
        return declared(text, answer_format, longest, self.has_words)

    def seconds(self, gold: str) -> float:
        """The time of its own that a comparison may take, beyond what none does."""
        return 0.0

    def written(self, gold: str) -> str:
        """A gold as a model would write it."""
        return gold

    def answer_of(self, problem: Problem) -> str | None:
        """A right answer to a problem; None where its row has none to show."""
        return self.written(problem.gold)

    def marked(self, answer: str, answer_format: AnswerFormat) -> str:
        """An answer in the marker that a recipe asks for."""
        return marked(answer, answer_format)

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
