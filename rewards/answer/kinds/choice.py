"""One letter of several: B, (B), "B) Paris". Two letters are no choice."""

import re
from typing import Any

from rewards.answer.kinds.base import Kind, as_text
from rewards.answer.number import BOLD, LATEX_TEXT, undressed

LETTER = re.compile(r"[A-Za-z]")
NAMED = re.compile(r"(?:(?:the )?(?:correct |right )?(?:answer|option|choice)(?: is)?:? ?)", re.I)
# A letter, and after a mark the text of that choice.
CHOICE = re.compile(r"[(\[]?([A-Za-z])(?:[)\]]|(?=[.:)]| ?$))(?:[.:)]* (.*)|[.:)]*)", re.DOTALL)
# A second letter in the text after it, or a denial. A and I may be words.
ANOTHER = re.compile(
    r"[(\[][A-Za-z][)\]]|\b[A-Za-z](?:[.:)](?!\w)|$)|\b[B-HJ-Z]\b"
    r"|\b(?:or|and|not) +\(?[B-HJ-Zb-hj-z]\b"
    r"|^(?:is|was) (?:not|wrong|incorrect|false)\b|^[Nn]o\b,"
)


class Choice(Kind):
    wanted = "one letter, as A or (A)"

    def read_gold(self, value: Any) -> str | None:
        text = as_text(value)
        if text is None:
            return None
        text = text.strip("()[]. ")
        return text.upper() if LETTER.fullmatch(text) else None

    def another(self, gold: str) -> str:
        return "B" if gold == "A" else "A"

    def equal(self, answer: str, gold: str) -> bool | None:
        return chosen(answer) == gold


def chosen(answer: str) -> str | None:
    """The letter that an answer chooses; None where it chooses none, or more than one."""
    text = undressed(BOLD.sub(r"\1", LATEX_TEXT.sub(r"\1", answer)))
    if named := NAMED.match(text):
        text = undressed(text[named.end() :])
    found = CHOICE.fullmatch(text)
    if found is None or (found[2] and ANOTHER.search(found[2])):
        return None
    return found[1].upper()
