"""The problem lacks a fact, and the answer says so."""

import re
from typing import Any

from rewards.answer.kinds.base import Kind
from rewards.answer.kinds.text import normalized

WORDS = frozenset({"none", "unknown", "unanswerable", "undetermined", "undefined", "na", "n a"})
DENIALS = re.compile(
    r"\b(?:cannot|can not|can t|cant|could not|impossible to) (?:be )?"
    r"(?:determined?|answer(?:ed)?|solved?|calculated?|known?)\b"
    r"|\b(?:not enough|insufficient|missing|lacks?|lacking|incomplete) "
    r"(?:\w+ )?(?:information|data|facts?|details?)\b"
    r"|\bno (?:unique |definite |single )?answer\b"
)


class Unanswerable(Kind):
    """Right is an answer that says that there is none, and gives none: no number stands in it."""

    wanted = "None, for a problem that lacks a fact"

    def read_gold(self, value: Any) -> str | None:
        said = value is None or (isinstance(value, str) and normalized(value) in WORDS)
        return "None" if said else None

    def equal(self, answer: str, gold: str) -> bool | None:
        if any(character.isdigit() for character in answer):
            return False
        words = normalized(answer)
        return words in WORDS or DENIALS.search(words) is not None

    def another(self, gold: str) -> str:
        return "12"
