"""How hard rows are, where they say it themselves."""

from collections.abc import Sequence
from typing import Any

from onecard.types import Problem, UserError

MOST_LEVELS = 12  # different numbers; more of them are put together


def levels_of(problems: Sequence[Problem], column: str | None) -> dict[str, str]:
    """The level of each problem, by id; without a column all are of one level.

    `column` may lead into a row: metadata.num_terms. More than 12 different numbers become 12
    levels of about as many problems each. Raises UserError where a row has no such column.
    """
    if column is None:
        return {problem.id: "all" for problem in problems}
    values = {problem.id: value_of(problem, column) for problem in problems}
    numbers = all(isinstance(value, int | float) for value in values.values())
    if numbers and len(set(values.values())) > MOST_LEVELS:
        return in_parts(values)
    return {name: str(value) for name, value in values.items()}


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
