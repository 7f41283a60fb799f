"""Small functions from a grammar, for a model made from nothing: code, judged by its tests.

The headroom is engineered as in synthetic.py. The solutions come in two styles. A `terse` one works
the whole calculation out in its head and returns the result, `4 * x + 6`, which a model this small
mostly gets wrong; a `stepwise` one writes a line for each instruction, and is usually right. Most
are terse. GRPO, paid for code that passes its tests, has to find out which is better.
"""

import random
from dataclasses import dataclass
from typing import Any

from onecard.data.rows import Reading, read_rows
from onecard.data.synthetic import HELD_OUT_PROBLEMS, different_rows
from onecard.types import Problem
from rewards.answer.section import AnswerKind

SYNTHETIC_CODE = "tiny-code"  # what a recipe's data.path calls it
STEPWISE_SHARE = 0.4
INSTRUCTIONS = (3, 4)
TRIED_WITH = (0, 1, -3, 10)  # two points would do to tell one line from another


def write_function(rng: random.Random) -> dict[str, Any]:
    """One row: what f(x) shall do, its tests, and a solution in one of the two styles."""
    wanted, lines = [], []
    slope, constant = 1, 0  # of what is x by now
    for _ in range(rng.choice(INSTRUCTIONS)):
        kind, n = rng.choice(("add", "subtract", "multiply")), rng.randint(2, 9)
        if kind == "multiply":
            n = rng.choice((2, 3))
            wanted.append(f"multiply it by {n}")
            lines.append(f"x = x * {n}")
            slope, constant = slope * n, constant * n
        else:
            sign = 1 if kind == "add" else -1
            wanted.append(f"{kind} {n}")
            lines.append(f"x = x {'+' if kind == 'add' else '-'} {n}")
            constant += sign * n
    if rng.random() < STEPWISE_SHARE:
        body = [*lines, "return x"]
    else:
        body = [f"return {slope} * x {'-' if constant < 0 else '+'} {abs(constant)}"]
    return {
        "question": f"Write f(x): {', then '.join(wanted)}.",
        "answer": [f"assert f({x}) == {slope * x + constant}" for x in TRIED_WITH],
        "solution": "\n".join(["def f(x):", *(f"    {line}" for line in body)]),
    }


def build_functions(split: str, count: int) -> list[dict[str, Any]]:
    """`count` different rows of one split (train, dev, test); fewer are the first of more."""
    rng = random.Random(f"onecard tiny code 1 {split}")
    return different_rows(lambda: write_function(rng), count, split)


@dataclass(frozen=True)
class SyntheticCode:
    """The functions as a data set, with the splits train, dev and test."""

    train_problems: int = HELD_OUT_PROBLEMS
    path: str = SYNTHETIC_CODE
    dev_benchmark: str = "dev"
    folder: None = None
    kind: AnswerKind = "code"

    def load(self, split: str) -> list[Problem]:
        count = self.train_problems if split == "train" else HELD_OUT_PROBLEMS
        name = f"{SYNTHETIC_CODE} {split}"
        return read_rows(build_functions(split, count), name, Reading(self.kind))
