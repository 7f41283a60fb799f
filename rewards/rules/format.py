"""Is a completion laid out as asked: one think block, then one answer block?"""

import re
from typing import Literal

from onecard.types import Rollout, Score
from rewards.answer.markers import without_end_mark
from rewards.base import Rule

TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def think_format(text: str) -> float:
    """1.0 for one think block, then one answer block, and nothing else but white space; else 0."""
    if any(text.count(tag) != 1 for tag in TAGS):
        return 0.0
    text = text.strip()
    places = [text.index(tag) for tag in TAGS]
    between = text[places[1] + len("</think>") : places[2]]
    whole = text.startswith("<think>") and text.endswith("</answer>") and places == sorted(places)
    return float(whole and not between.strip())


def laid_out(rollout: Rollout) -> str:
    """The completion as it is judged.

    Without an end token that was left in, and with the <think> that the chat template wrote for it.
    """
    text = without_end_mark(rollout.text)
    return f"<think>{text}" if rollout.think_opened else text


class Layout(Rule):
    """A rule for the form of a completion, whatever that says."""

    @property
    def pays_for_layout(self) -> bool:
        return True


class ThinkFormat(Layout):
    """Pays 1 for one think block followed by one answer block and nothing else.

    Gamed by empty or wrong text in perfect form; so keep its weight well below correct_answer's.
    """

    name: Literal["think_format"]

    def score(self, rollout: Rollout) -> Score:
        return Score(think_format(laid_out(rollout)))


class ThinkFormatSoft(Layout):
    """Pays 1 when a think block is followed, anywhere later, by an answer block.

    Other text around them is no fault. Gamed by burying the blocks in noise; think_format is the
    stricter one.
    """

    name: Literal["think_format_soft"]

    def score(self, rollout: Rollout) -> Score:
        text, place = laid_out(rollout), 0
        for tag in TAGS:
            place = text.find(tag, place)
            if place < 0:
                return Score(0.0)
        return Score(1.0)


class TagCount(Layout):
    """Pays a quarter for each of the four tags that stands exactly once.

    A slope for models that have no format yet. Gamed by writing the tags and nothing else. A
    repeated tag earns nothing.
    """

    name: Literal["tag_count"]

    def score(self, rollout: Rollout) -> Score:
        text = laid_out(rollout)
        return Score(sum(text.count(tag) == 1 for tag in TAGS) / len(TAGS))


THINK_BLOCK = re.compile(r"<(?:think|reasoning)>")


def reasoning(rollout: Rollout) -> str:
    """The working of a completion: what stands before its last </think>.

    Without one it is all before the first answer marker.
    """
    text = THINK_BLOCK.sub("", rollout.text, count=1)
    end = text.rfind("</think>")
    if end >= 0:
        return text[:end]
    for marker in ("<answer>", "####", "\\boxed"):
        text = text.partition(marker)[0]
    return text
