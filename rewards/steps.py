"""Where the steps of a completion are. One rule, for rewards, for training and for reports."""

import re

LINE_END = re.compile(r"\n\s*")
SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")


def step_ends(text: str) -> list[int]:
    """Where each step ends: the last place is the length of the text. [] for an empty one.

    A step is a line; of a text that is one line, a sentence. What stands before and after the
    working, such as a mark or the answer on a line of its own, is a step like the others.
    """
    if not text.strip():
        return []
    mark = LINE_END if "\n" in text.strip() else SENTENCE_END
    ends = []
    begun = 0
    for found in mark.finditer(text):
        if text[begun : found.end()].strip() and text[found.end() :].strip():
            ends.append(found.end())
            begun = found.end()
    return [*ends, len(text)]


def steps_of(text: str) -> list[str]:
    """The steps themselves; put together they are the text."""
    ends = step_ends(text)
    return [text[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
