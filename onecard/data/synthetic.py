"""Word problems made from nothing, for a model made from nothing: the whole pipeline on a laptop.

The headroom is engineered, and says so: the training solutions come in two styles. A `terse` one
states the result and nothing else, and a model this small often gets it wrong; a `stepwise` one
works event by event and is usually right. Most are terse. GRPO, paid for right answers only, has to
find out by itself that working step by step pays: DeepSeek-R1's lesson in miniature, not a claim
about real models.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onecard.data.rows import Reading, read_rows
from onecard.types import Problem
from rewards.answer.section import AnswerKind

SYNTHETIC = "tiny"  # what a recipe's data.path calls it
HELD_OUT_PROBLEMS = 512  # of each split that is not trained on
NAMES = tuple("Ann Ben Cara Dan Eva Finn Gina Hugo Iris Jack Kate Leo Mia Noah Olga Paul".split())
OBJECTS = tuple("apples books coins pens cards shells stamps marbles balls buttons".split())
SHIFTED_NAMES = ("Quinn", "Rosa", "Sam", "Tara", "Uma", "Victor", "Wendy", "Zoe")
SHIFTED_OBJECTS = ("lemons", "rings", "stones", "kites")
STEPWISE_SHARE = 0.45
# Named in every step, so that a model this small finds its event.
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday")
EVENTS = (3, 4)  # doubling and halving among them: a result that no sum of the numbers gives away


def split_of(question: str) -> str:
    """The split that a question belongs to, by its hash: the splits share no question."""
    slot = hashlib.sha256(question.encode()).digest()[0] % 8
    return {0: "dev", 1: "test"}.get(slot, "train")


def write_problem(rng: random.Random, shifted: bool = False) -> dict[str, str]:
    """One row in GSM8K's format. The running value stays in 0 to 20.

    `shifted`: in 0 to 30, with names and objects of its own.
    """
    limit = 30 if shifted else 20
    name = rng.choice(SHIFTED_NAMES if shifted else NAMES)
    thing = rng.choice(SHIFTED_OBJECTS if shifted else OBJECTS)
    value = rng.randint(2, limit // 2)
    sentences, steps = [f"{name} has {value} {thing}."], []
    for day in DAYS[: rng.choice(EVENTS)]:
        kind = rng.choice(("add", "take", "double", "halve"))
        if kind == "double" and 2 <= value <= limit // 2:
            sentence = f"On {day} the number of {thing} doubles."
            sign, amount, after = "*", 2, value * 2
        elif kind == "halve" and value >= 2 and value % 2 == 0:
            sentence = f"On {day} {name} gives away half."
            sign, amount, after = "/", 2, value // 2
        elif (kind in ("add", "double") and value < limit) or value == 0:
            amount = rng.randint(1, min(9, limit - value))
            sentence = f"On {day} {name} {rng.choice(('buys', 'finds'))} {amount} more."
            sign, after = "+", value + amount
        else:
            amount = rng.randint(1, min(9, value))
            sentence = f"On {day} {name} {rng.choice(('gives away', 'loses'))} {amount}."
            sign, after = "-", value - amount
        sentences.append(sentence)
        steps.append(f"{day}: {value} {sign} {amount} = {after}")
        value = after
    stepwise = rng.random() < STEPWISE_SHARE
    solution = ". ".join(steps) if stepwise else f"{name} has {value} {thing}."
    question = " ".join([*sentences, f"How many {thing} does {name} have now?"])
    return {"question": question, "answer": f"{solution}\n#### {value}"}


def build_problems(split: str, count: int) -> list[dict[str, str]]:
    """`count` different rows of one split (train, dev, test, shifted).

    They are the same ones whatever the seed of a run is, and fewer are the first of more.
    """
    rng = random.Random(f"onecard tiny 1 {split}")
    if split == "shifted":
        return different_rows(lambda: write_problem(rng, shifted=True), count)
    return different_rows(lambda: write_problem(rng), count, split)


def different_rows(
    write: Callable[[], dict[str, Any]], count: int, split: str | None = None
) -> list[dict[str, Any]]:
    """`count` rows that no other asks the same as, of those that `write` gives; of one split."""
    rows: dict[str, dict[str, Any]] = {}
    while len(rows) < count:
        row = write()
        if split in (None, split_of(row["question"])):
            rows.setdefault(row["question"], row)
    return list(rows.values())


@dataclass(frozen=True)
class Synthetic:
    """The synthetic set as a data set, with the splits train, dev, test and shifted."""

    train_problems: int = HELD_OUT_PROBLEMS
    path: str = SYNTHETIC
    dev_benchmark: str = "tiny-dev"
    folder: None = None
    kind: AnswerKind = "number"

    def load(self, split: str) -> list[Problem]:
        count = self.train_problems if split == "train" else HELD_OUT_PROBLEMS
        return read_rows(build_problems(split, count), f"{SYNTHETIC} {split}", Reading(self.kind))
