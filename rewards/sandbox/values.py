"""Plain values as JSON, between a candidate and its checker.

Lists, tuples, sets, dictionaries, numbers and texts go across as what they are. What the checker
gets is always made anew, of Python's own types: no object of the candidate's, with an equality of
its own, comes with it. An object stays in the candidate, and its number goes across.
"""

from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from itertools import islice
from typing import Any

LONGEST_ITERATOR = 100_000
ITERATED = (Iterator, range, KeysView, ValuesView, ItemsView)

Keep = Callable[[Any], int]
Find = Callable[[int], Any]


def packed(value: Any, keep: Keep) -> Any:
    """A value as JSON has it. `keep` gives a number to what is no plain value."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float | str):
        base = next(kind for kind in (int, float, str) if isinstance(value, kind))
        return base(value)
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes | bytearray):
        return {"bytes": value.hex()}
    if isinstance(value, list):
        return [packed(item, keep) for item in value]
    if isinstance(value, dict):
        pairs = value.items()
        return {"dict": [[packed(key, keep), packed(item, keep)] for key, item in pairs]}
    for name, kind in (("tuple", tuple), ("set", set), ("frozenset", frozenset)):
        if isinstance(value, kind):
            return {name: [packed(item, keep) for item in value]}
    if isinstance(value, ITERATED):
        items = islice(iter(value), LONGEST_ITERATOR)
        return {"iterator": [packed(item, keep) for item in items]}
    return {"object": keep(value)}


def unpacked(value: Any, find: Find) -> Any:
    """What `packed` made, as a value. Raises ValueError or TypeError where it is nothing of that.

    `find` gives what stands for the object of a number.
    """
    if isinstance(value, list):
        return [unpacked(item, find) for item in value]
    if not isinstance(value, dict):
        return value
    ((name, inside),) = value.items()
    if name == "object":
        return find(int(inside))
    if name == "complex":
        return complex(*inside)
    if name == "bytes":
        return bytes.fromhex(inside)
    if name == "dict":
        return {unpacked(key, find): unpacked(item, find) for key, item in inside}
    items = [unpacked(item, find) for item in inside]
    made: dict[str, Callable[[list[Any]], Any]] = {
        "tuple": tuple,
        "set": set,
        "frozenset": frozenset,
        "iterator": iter,
    }
    if name not in made:
        raise ValueError(f"no such kind of value: {name!r}")
    return made[name](items)
