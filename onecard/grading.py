"""The rewards of a recipe as TRL calls them: one function each, whole batches, and a fault is never a zero."""

import math
import time
from collections.abc import Callable
from multiprocessing import TimeoutError as DeadlineError
from multiprocessing.pool import ThreadPool
from typing import Any

from onecard.recipe import Recipe
from onecard.types import Rollout, Sample, Score
from rewards import expand

THREADS = 4


class Grader:
    """Scores a batch once and hands each reward's column to TRL.

    A reward that raises, overruns the batch's deadline, or gives something that is no finite number is a fault: with
    `grading.on_error: stop` it ends the run, naming reward and sample; with `skip_group` every completion of that prompt
    becomes not applicable (None) for every reward, so that no gradient comes from it, and the fault is counted.
    """

    def __init__(self, recipe: Recipe, samples: list[Sample], end_tokens: set[int], think_opened: bool) -> None:
        self.rewards = expand(recipe.rewards)
        self.samples = {sample.id: sample for sample in samples}
        self.grading = recipe.grading
        self.group_size = recipe.grpo.num_generations
        self.end_tokens = end_tokens
        self.think_opened = think_opened
        self.pool = ThreadPool(THREADS)  # its threads are daemons: one that hangs does not keep the process alive
        self.graded: tuple[object, list[list[float | None]]] = (None, [])
        self.faults = 0

    def reward_functions(self) -> list[Callable[..., list[float | None]]]:
        """One function per reward, under its own label, with TRL's signature."""
        return [self.column(index, reward.label) for index, reward in enumerate(self.rewards)]

    def column(self, index: int, label: str) -> Callable[..., list[float | None]]:
        def score_batch(
            completions: list[list[dict[str, str]]], completion_ids: list[list[int]], sample_id: list[str], **others: Any
        ) -> list[float | None]:
            if self.graded[0] is not completions:  # TRL passes the same list to each reward in turn
                rollouts = [self.rollout(c, ids, s) for c, ids, s in zip(completions, completion_ids, sample_id, strict=True)]
                self.graded = (completions, self.grade(rollouts))
                others["log_metric"]("rewards/faults", float(self.faults))
            return [row[index] for row in self.graded[1]]

        score_batch.__name__ = label
        return score_batch

    def rollout(self, messages: list[dict[str, str]], ids: list[int], sample_id: str) -> Rollout:
        truncated = not ids or ids[-1] not in self.end_tokens
        return Rollout(self.samples[sample_id], messages[-1]["content"], len(ids), truncated, self.think_opened)

    def grade(self, rollouts: list[Rollout]) -> list[list[float | None]]:
        """Every rollout's value under every reward, rows in order."""
        deadline = time.monotonic() + self.grading.deadline_seconds
        pending = [[self.pool.apply_async(value_of, (reward, rollout)) for reward in self.rewards] for rollout in rollouts]
        rows: list[list[float | None]] = []
        skipped = set()
        for number, (rollout, answers) in enumerate(zip(rollouts, pending, strict=True)):
            row: list[float | None] = []
            for reward, answer in zip(self.rewards, answers, strict=True):
                try:
                    row.append(answer.get(max(0.0, deadline - time.monotonic())))
                except Exception as error:
                    late = f"no value within {self.grading.deadline_seconds:g} s"
                    reason = late if isinstance(error, DeadlineError) else f"{type(error).__name__}: {error}"
                    self.faults += 1
                    skipped.add(number // self.group_size)
                    row.append(None)
                    if self.grading.on_error == "stop":
                        raise RuntimeError(
                            f"reward {reward.label} failed on sample {rollout.sample.id}, row {number} of the batch: {reason}. "
                            "The completion was:\n" + rollout.text[:500] + "\n`grading.on_error: skip_group` leaves such groups out."
                        ) from error
            rows.append(row)
        return [[None] * len(row) if number // self.group_size in skipped else row for number, row in enumerate(rows)]


def value_of(reward: Any, rollout: Rollout) -> float | None:
    """A reward's value for one rollout. Raises ValueError where that is neither None nor a finite number."""
    score = reward.score(rollout)
    if score is None:
        return None
    if not isinstance(score, Score) or not math.isfinite(score.value):
        raise ValueError(f"returned {score!r}, wanted a finite number or None")
    return score.value
