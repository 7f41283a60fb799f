"""How hard rows are, where they say it themselves."""

import math
from collections.abc import Sequence
from typing import Any

from onecard.types import Problem, UserError

MOST_LEVELS = 12


def levels_of(problems: Sequence[Problem], column: str | None) -> dict[str, str]:
    """The level of each problem, by id; without a column all are of one level.

    `column` may lead into a row: metadata.num_terms. Numbers may be written as texts, as in a CSV
    file; more than 12 different ones become 12 levels of about as many problems each. Raises
    UserError where a row has no such column, and for more than 12 names.
    """
    if column is None:
        return {problem.id: "all" for problem in problems}
    values = {problem.id: value_of(problem, column) for problem in problems}
    names = {name: str(value) for name, value in values.items()}
    different = len(set(names.values()))
    if different <= MOST_LEVELS:
        return names
    numbers = {name: as_number(value) for name, value in values.items()}
    known = {name: number for name, number in numbers.items() if number is not None}
    if len(known) < len(numbers):
        raise UserError(
            f"data.difficulty: {column} has {different:,} different values, and not all are"
            f" numbers; wanted numbers, or names of at most {MOST_LEVELS} levels"
        )
    return in_parts(known)


def as_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def value_of(problem: Problem, column: str) -> Any:
    value: Any = problem.columns
    for part in column.split("."):
        if not isinstance(value, dict) or part not in value:
            there = ", ".join(sorted(problem.columns))
            raise UserError(
                f"data.difficulty: problem {problem.id} has no {column!r}; its columns are {there}"
            )
        value = value[part]
    return value


def in_parts(values: dict[str, float]) -> dict[str, str]:
    """Levels from the lowest numbers to the highest, each of as many problems."""
    ordered = sorted(values, key=lambda name: values[name])
    width = len(str(MOST_LEVELS))
    found = {}
    for place, name in enumerate(ordered):
        found[name] = f"{1 + place * MOST_LEVELS // len(ordered):0{width}} of {MOST_LEVELS}"
    return found
