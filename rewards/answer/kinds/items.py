"""Several items: a list in its order, or a set in any. Written as JSON, or with commas."""

import json
from decimal import Decimal
from typing import Any

from rewards.answer.kinds.base import Kind, as_json
from rewards.answer.number import PLAIN_NUMBER

Item = str | Decimal | tuple[Any, ...]
DEEPEST = 20


class List(Kind):
    wanted = "a list, as [1, 2] or 1, 2"
    longest = 10_000

    def read_gold(self, value: Any) -> str | None:
        if isinstance(value, tuple | set):
            value = list(value)
        if isinstance(value, str):
            value = items_of(value)
        return as_json(value) if isinstance(value, list) and value else None

    def another(self, gold: str) -> str:
        return as_json([*json.loads(gold), "something else"])

    def equal(self, answer: str, gold: str) -> bool | None:
        try:
            found = items_of(answer)
            return found is not None and self.same(items(found), items(parsed(gold)))
        except RecursionError:  # brackets in brackets
            return False

    def same(self, found: list[Item], gold: list[Item]) -> bool:
        return found == gold


class Set(List):
    """The order does not count, and an item that stands twice is one."""

    wanted = "a set, as {1, 2}, [1, 2] or 1, 2"

    def same(self, found: list[Item], gold: list[Item]) -> bool:
        return set(found) == set(gold)


def items_of(text: str) -> list[Any] | None:
    """The items that a text lists; None where it is no list."""
    text = text.strip()
    try:
        found = parsed(text)
    except (ValueError, ArithmeticError):
        pass
    else:
        return found if isinstance(found, list) else [found]
    for opening, closing in (("[", "]"), ("{", "}"), ("\\{", "\\}"), ("(", ")")):
        if text.startswith(opening) and text.endswith(closing):
            text = text.removeprefix(opening).removesuffix(closing)
            break
    pieces = [piece.strip().strip("'\"").strip() for piece in text.split(",")]
    return pieces if all(pieces) else None


def parsed(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def items(values: list[Any], depth: int = 0) -> list[Item]:
    """Items that can be compared: plain numbers by value, all else as text without case.

    "10 km" stays text: a unit or a name in it counts.
    """
    found: list[Item] = []
    for value in values:
        if isinstance(value, list) and depth < DEEPEST:
            found.append(tuple(items(value, depth + 1)))
            continue
        text = value if isinstance(value, str) else as_json(value)
        plain = PLAIN_NUMBER.fullmatch(text.strip())
        found.append(Decimal(text.strip()) if plain else " ".join(text.casefold().split()))
    return found
