"""Where two settings differ, leaf by leaf."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Key = tuple[str, ...]  # the way to a value, from the outermost key on
LONGEST_SHOWN = 40  # characters of a value in one line of an error


@dataclass(frozen=True)
class Difference:
    """One value that is not the same on both sides. A side that lacks the key has None."""

    path: Key
    one: Any
    other: Any

    def is_below(self, *key: str) -> bool:
        """Whether it is the value of that key, or a part of it."""
        return self.path[: len(key)] == key

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {shown(self.one)} and {shown(self.other)}"


def differences(
    one: Mapping[str, Any], other: Mapping[str, Any], path: Key = ()
) -> list[Difference]:
    """All values that differ, in the order of the keys."""
    found: list[Difference] = []
    for key in {**one, **other}:
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, (*path, key))
        elif a != b:
            found.append(Difference((*path, key), a, b))
    return found


def short_names(keys: Sequence[Key]) -> list[str]:
    """The last word of each key, and as many before it as set it apart from the others."""
    found = []
    for key in keys:
        count = 1
        while count < len(key) and [one[-count:] for one in keys].count(key[-count:]) > 1:
            count += 1
        found.append(".".join(key[-count:]))
    return found


def listed(found: Iterable[Difference]) -> str:
    """Differences in one sentence: "sampling.temperature: 0.0 and 1.0; seed: 1 and 2"."""
    return "; ".join(map(str, found))


def shown(value: Any) -> str:
    """A value for one line of an error."""
    text = repr(value)
    if len(text) <= LONGEST_SHOWN:
        return text
    return f"{text[:12]}... ({len(text)} characters)"
