"""JSON, equal after parsing: keys in any order, 1 and 1.0 the same, 1 and true not."""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from rewards.answer.kinds.base import Kind, as_json


class Json(Kind):
    wanted = "JSON"
    longest = 10_000

    def read_gold(self, value: Any) -> str | None:
        if not isinstance(value, str):
            return None if value is None else as_json(value)
        try:
            parse(value)
        except (ValueError, RecursionError):
            return None
        return value.strip()

    def another(self, gold: str) -> str:
        return "true" if gold == "false" else "false"

    def equal(self, answer: str, gold: str) -> bool | None:
        try:
            return same(parse(without_fence(answer)), parse(gold))
        except (ValueError, RecursionError, ArithmeticError):
            return False


def parse(text: str) -> Any:
    """JSON with exact numbers. Raises ValueError for NaN, infinity, and a key that stands twice."""
    return json.loads(
        text, parse_float=Decimal, parse_constant=refuse, object_pairs_hook=unique_keys
    )


def without_fence(text: str) -> str:
    """The text between ``` or ```json and ```, where it stands so."""
    text = text.strip()
    if len(text) > 6 and text.startswith("```") and text.endswith("```"):
        return text[3:-3].removeprefix("json")
    return text


def refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def unique_keys(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice")
        found[key] = value
    return found


def same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
