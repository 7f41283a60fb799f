"""Every kind that a recipe can name, and which one the golds of a data set are."""

from collections.abc import Sequence
from typing import Any

from rewards.answer.kinds.base import Kind, as_text
from rewards.answer.kinds.choice import Choice
from rewards.answer.kinds.code import Code, looks_like_tests
from rewards.answer.kinds.date import Date
from rewards.answer.kinds.expression import Expression, looks_like_mathematics
from rewards.answer.kinds.gym import Gym
from rewards.answer.kinds.items import List, Set
from rewards.answer.kinds.json import Json
from rewards.answer.kinds.number import Number
from rewards.answer.kinds.text import Exact, Text
from rewards.answer.kinds.unanswerable import Unanswerable
from rewards.answer.section import AnswerKind

KINDS: dict[str, Kind] = {  # `none` has no gold, and nothing to compare
    "number": Number(),
    "expression": Expression(),
    "choice": Choice(),
    "text": Text(),
    "exact": Exact(),
    "list": List(),
    "set": Set(),
    "json": Json(),
    "date": Date(),
    "gym": Gym(),
    "code": Code(),
    "unanswerable": Unanswerable(),
}
# In this order: what fits an earlier one fits no later one better.
SEEN_AT_ONCE: tuple[AnswerKind, ...] = ("number", "choice", "date")


def kind_of(golds: Sequence[Any]) -> AnswerKind:
    """The kind that at least half of the golds are; `text` where they are of no special one.

    Half is enough, so that one broken row does not make a data set of numbers one of texts.
    """
    for kind in SEEN_AT_ONCE:
        if 2 * sum(KINDS[kind].read_gold(gold) is not None for gold in golds) >= len(golds):
            return kind
    if all(looks_like_tests(gold) for gold in golds):
        return "code"
    if all(isinstance(gold, list) for gold in golds):
        return "list"
    if any(isinstance(gold, list | dict) for gold in golds):
        return "json"
    texts = [as_text(gold) or "" for gold in golds]
    words = [text for text in texts if KINDS["number"].read_gold(text) is None]
    if 2 * sum(map(looks_like_mathematics, words)) >= len(words):
        return "expression"
    return "text"
