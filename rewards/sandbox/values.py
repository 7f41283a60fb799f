"""Plain values as JSON, between a candidate and its checker.

Numbers, texts, lists and the like go across as what they are. What the checker gets is always made
anew, of Python's own types: no object of the candidate's, with an equality of its own, comes with
it. Any other object stays in the candidate, and its number goes across.
"""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any

LONGEST_ITERATOR = 10_000  # items of it that go across
ITERATED = (Iterator, KeysView, ValuesView, ItemsView)

Keep = Callable[[Any], int]
Find = Callable[[int], Any]

# A kind's name, its type, its value as a text, and the value of a text. The first that fits counts.
WRITTEN: tuple[tuple[str, type, Callable[[Any], str], Callable[[str], Any]], ...] = (
    ("int", int, hex, lambda text: int(text, 16)),  # of any length
    ("complex", complex, str, complex),
    ("fraction", Fraction, str, Fraction),
    ("decimal", Decimal, str, Decimal),
    ("datetime", datetime, datetime.isoformat, datetime.fromisoformat),
    ("date", date, date.isoformat, date.fromisoformat),
    ("time", time, time.isoformat, time.fromisoformat),
    ("bytes", bytes, bytes.hex, bytes.fromhex),
    ("bytearray", bytearray, bytearray.hex, bytearray.fromhex),
)
# Those that hold others, as a list of these.
LISTED: tuple[tuple[str, Any, Callable[[list[Any]], Any]], ...] = (
    ("tuple", tuple, tuple),
    ("set", set, set),
    ("frozenset", frozenset, frozenset),
    ("deque", deque, deque),
)
PAIRED: tuple[tuple[str, Any, Callable[[Any], Any]], ...] = (
    ("counter", Counter, lambda pairs: Counter(dict(pairs))),
    ("ordered", OrderedDict, OrderedDict),
    ("dict", defaultdict, dict),
    ("dict", dict, dict),
)
SHORTEST_LONG_INT = 1 << 53


def packed(value: Any, keep: Keep) -> Any:
    """A value as JSON has it. `keep` gives a number to what is no plain value."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int) and abs(value) < SHORTEST_LONG_INT:
        return int(value)
    for name, kind, write, _ in WRITTEN:
        if isinstance(value, kind):
            return {name: write(value)}
    if isinstance(value, timedelta):
        return {"timedelta": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if isinstance(value, list):
        return [packed(item, keep) for item in value]
    for name, kind, _ in PAIRED:
        if isinstance(value, kind):
            return {name: [[packed(key, keep), packed(item, keep)] for key, item in value.items()]}
    for name, kind, _ in LISTED:
        if isinstance(value, kind):
            return {name: [packed(item, keep) for item in value]}
    if isinstance(value, ITERATED):
        return {"iterator": [packed(item, keep) for item in islice(value, LONGEST_ITERATOR)]}
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
    if name == "timedelta":
        return timedelta(*inside)
    if name == "range":
        return range(*inside)
    if name == "iterator":
        return iter([unpacked(item, find) for item in inside])
    for known, _, _, read in WRITTEN:
        if name == known:
            return read(inside)
    for known, _, make in LISTED:
        if name == known:
            return make([unpacked(item, find) for item in inside])
    for known, _, make_of_pairs in PAIRED:
        if name == known:
            pairs = [(unpacked(key, find), unpacked(item, find)) for key, item in inside]
            return make_of_pairs(pairs)
    raise ValueError(f"no such kind of value: {name!r}")
