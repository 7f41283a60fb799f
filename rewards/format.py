"""Is a completion laid out as asked? Text in, share of the format in."""

import re

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
LAYOUT = re.compile(r"\s*<think>.*</think>\s*<answer>.*</answer>\s*", re.DOTALL)


def think_format(completion: str) -> float:
    """1.0 for exactly one think block, then exactly one answer block, white space aside nothing else; else 0.0."""
    once = all(completion.count(tag) == 1 for tag in TAGS)
    return float(once and LAYOUT.fullmatch(completion) is not None)
