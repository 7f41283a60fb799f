"""Problems that reasoning-gym makes: as many as are wanted, of one task or of several."""

import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property
from io import StringIO
from typing import Any

from onecard.data.rows import PLAIN, Reading, read_rows
from onecard.data.sameness import plain_words
from onecard.data.section import GymTask
from onecard.types import Problem, UserError
from rewards.answer.kinds.gym import PACKAGE, open_task
from rewards.answer.section import AnswerKind

HELD_OUT_PROBLEMS = 512  # of each split that is not trained on
# Row i of a task is made with the seed `its seed + i`: the splits' seeds lie further apart than a
# split can have rows. In this order, because a question is in the first split that has it.
MOST_ROWS = 200_000
SEEDS = {"test": 0, "dev": 10_000_000, "train": 20_000_000}
TRIES = 1_000  # rows in a row whose questions are known, before a task is said to have no more


@dataclass(frozen=True)
class Gym:
    """Tasks of reasoning-gym as a data set, with the splits train, dev and test.

    Their rows are the same ones whatever the seed of a run is, and fewer are the first of more.
    Without another kind of answers in `reading`, the tasks' own verifiers judge.
    """

    tasks: tuple[GymTask, ...]
    train_problems: int = HELD_OUT_PROBLEMS
    reading: Reading = PLAIN
    held_out: int = HELD_OUT_PROBLEMS  # of dev and of test, each
    path: str = PACKAGE
    dev_benchmark: str = "dev"
    folder: None = None

    @property
    def kind(self) -> AnswerKind:
        return self.reading.kind or "gym"

    def load(self, split: str) -> list[Problem]:
        reading = replace(self.reading, kind=self.kind)
        return read_rows(self.rows(split), f"{PACKAGE} {split}", reading)

    def rows(self, split: str) -> list[dict[str, Any]]:
        """The rows of a split. No question is asked twice, in it or in a split before it."""
        for name in SEEDS:
            if name not in self.made:
                count = self.train_problems if name == "train" else self.held_out
                self.made[name] = self.make(name, count)
            if name == split:
                break
        return self.made[split]

    @cached_property
    def made(self) -> dict[str, list[dict[str, Any]]]:
        """The splits that were asked for so far."""
        return {}

    @cached_property
    def asked(self) -> set[str]:
        """The questions of all of them, as plain words."""
        return set()

    def make(self, split: str, count: int) -> list[dict[str, Any]]:
        """`count` rows of a split; each task's share is as large as its weight says."""
        makers = [new_rows(task, split, self.asked) for task in self.tasks]
        made = [0] * len(makers)
        rows: list[dict[str, Any]] = []
        while len(rows) < count:
            # The task whose share is the furthest behind.
            due = min(range(len(made)), key=lambda i: (made[i] + 1) / self.tasks[i].weight)
            row = next(makers[due], None)
            if row is None:
                raise UserError(
                    f"data.gym: {self.tasks[due].task} has no more than {made[due]:,} different"
                    f" questions for {split}, and {count:,} rows are wanted; change its params, or"
                    " lower data.train_problems"
                )
            made[due] += 1
            rows.append(row)
        return rows


def new_rows(task: GymTask, split: str, asked: set[str]) -> Iterator[dict[str, Any]]:
    """A task's rows whose question was not `asked` yet, for as long as there are some."""
    source = open_task(task.task, json.dumps(task.params), SEEDS[split], MOST_ROWS)
    known = 0
    for number in range(MOST_ROWS):
        with redirect_stdout(StringIO()):  # one of them prints dots
            entry = source[number]
        words = plain_words(entry["question"])
        if words in asked:
            known += 1
            if known == TRIES:
                return
            continue
        known = 0
        asked.add(words)
        yield {
            "id": f"{task.task}-{split}-{number}",
            "question": entry["question"],
            "answer": entry["answer"],
            "task": task.task,
            "params": task.params,
            "metadata": entry["metadata"],
        }
