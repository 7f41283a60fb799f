"""Rows -> problems. Every row is read or named in an error: none is dropped here."""

import re
from collections.abc import Iterable
from typing import Any

from onecard.types import Problem, UserError
from rewards.answer.number import CALCULATOR
from rewards.answer.section import AnswerKind

LONGEST_TEXT = 100_000  # characters of a question or an answer; GSM8K's longest have about 1,000
GOLD_NUMBER = re.compile(r"-?([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]+)?")


def read_rows(rows: Iterable[Any], source: str, kind: AnswerKind = "number") -> list[Problem]:
    """{question, answer} rows as problems.

    An answer is "working #### gold", as GSM8K has it, or the gold alone. A problem is known by its
    row's `id`, if it has one, else by the row's number. Raises UserError with the row's number.
    """
    problems: list[Problem] = []
    first: dict[str, int] = {}  # the row in which an id stood first
    for number, row in enumerate(rows, start=1):
        where = f"{source}, row {number}"
        problem = read_row(row, where, number, kind)
        if first.setdefault(problem.id, number) != number:
            raise UserError(
                f"{where}: the id {problem.id!r} stands in row {first[problem.id]} already; give"
                " each row its own"
            )
        problems.append(problem)
    if not problems:
        raise UserError(f"{source}: no rows; at least one {{question, answer}} row is needed")
    return problems


def read_row(row: Any, where: str, number: int, kind: AnswerKind) -> Problem:
    question, answer = read_text(row, "question", where), read_text(row, "answer", where)
    name = row.get("id", number)
    if not isinstance(name, str | int):
        raise UserError(f"{where}: the id must be text or a whole number, got {name!r}")
    solution, _, gold = answer.rpartition("####")
    gold = gold.strip()
    if kind == "number":
        if not GOLD_NUMBER.fullmatch(gold):
            raise UserError(
                f"{where}: the answer must be a number or end in '#### NUMBER', got"
                f" {answer[-40:]!r}"
            )
        gold = gold.replace(",", "")
    if not gold:
        raise UserError(f"{where}: nothing stands after '####', got {answer[-40:]!r}")
    return Problem(str(name), question, gold, CALCULATOR.sub("", solution).strip())


def read_text(row: Any, column: str, where: str) -> str:
    """The text of a column. Raises UserError where there is none, or none that can be written."""
    text = row.get(column) if isinstance(row, dict) else None
    if not isinstance(text, str) or not text.strip():
        found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise UserError(
            f"{where}: no text in column {column!r} (the row has: {found}); wanted question and"
            " answer"
        )
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UserError(
            f"{where}: half of a surrogate pair in column {column!r}; such text cannot be written"
            " as UTF-8"
        )
    if len(text) > LONGEST_TEXT:
        raise UserError(
            f"{where}: {len(text):,} characters in column {column!r}, and {LONGEST_TEXT:,} are"
            " taken; is it one problem?"
        )
    return text
