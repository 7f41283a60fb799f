"""A recipe's rewards as TRL's reward functions: one each, scored in whole batches; a reward that
fails is never counted as 0.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from onecard.data.prompts import prompt_for, render
from onecard.recipe import Recipe
from onecard.types import Rollout, RunFailed, Sample, UserError
from rewards import expand
from rewards.base import Reward, value_of
from rewards.selftest import check_cases, run_cases

THREADS = 4


class BatchScorer:
    """Scores a batch once and hands each reward's column to TRL.

    A reward that raises, overruns the batch's deadline, or gives something that is no finite number
    is a fault: with `grading.on_error: stop` it ends the run, naming reward and sample; with
    `skip_group` every completion of that prompt becomes not applicable (None) for every reward, so
    that no reward moves the policy there, and the fault is counted. The deadline cannot interrupt a
    reward that holds Python's lock, such as one regular expression that runs away.
    """

    def __init__(
        self, recipe: Recipe, samples: list[Sample], end_tokens: set[int], think_opened: bool
    ) -> None:
        self.rewards = expand(recipe.rewards)
        self.samples = {sample.id: sample for sample in samples}
        self.grading = recipe.grading
        self.group_size = recipe.grpo.num_generations
        self.end_tokens = end_tokens
        self.think_opened = think_opened
        self.scored: tuple[object, list[list[float | None]]] = (None, [])
        self.faults = 0

    def reward_functions(self) -> list[Callable[..., list[float | None]]]:
        """One function per reward, under its own label, with TRL's signature."""
        return [self.column(index, reward.label) for index, reward in enumerate(self.rewards)]

    def column(self, index: int, label: str) -> Callable[..., list[float | None]]:
        def score_batch(
            completions: list[list[dict[str, str]]],
            completion_ids: list[list[int]],
            sample_id: list[str],
            **others: Any,
        ) -> list[float | None]:
            if self.scored[0] is not completions:  # TRL passes the same list to each reward in turn
                first = others["trainer_state"].global_step * len(completions)
                rows = zip(completions, completion_ids, sample_id, strict=True)
                rollouts = [
                    self.rollout(*row, place) for place, row in enumerate(rows, start=first)
                ]
                self.scored = (completions, self.score(rollouts))
                others["log_metric"]("rewards/faults", float(self.faults))
            return [row[index] for row in self.scored[1]]

        score_batch.__name__ = label
        return score_batch

    def rollout(
        self, messages: list[dict[str, str]], ids: list[int], sample_id: str, place: int
    ) -> Rollout:
        truncated = not ids or ids[-1] not in self.end_tokens
        return Rollout(
            self.samples[sample_id],
            messages[-1]["content"],
            len(ids),
            truncated,
            self.think_opened,
            place,
        )

    def score(self, rollouts: list[Rollout]) -> list[list[float | None]]:
        """Every rollout's value under every reward, rows in order."""
        width = len(self.rewards)
        cells = in_parallel(
            [(reward, rollout) for rollout in rollouts for reward in self.rewards],
            self.grading.deadline_seconds,
        )
        rows = [cells[start : start + width] for start in range(0, len(cells), width)]
        faulty = [
            (number, place)
            for number, row in enumerate(rows)
            for place, cell in enumerate(row)
            if isinstance(cell, Exception)
        ]
        self.faults += len(faulty)
        if faulty and self.grading.on_error == "stop":
            number, place = faulty[0]
            error, rollout = rows[number][place], rollouts[number]
            raise RunFailed(
                f"reward {self.rewards[place].label} failed on sample {rollout.sample.id}, row"
                f" {number} of the batch: {type(error).__name__}: {error}. The completion"
                f" was:\n{rollout.text[:500]}\n`grading.on_error: skip_group` leaves such groups"
                " out."
            )
        skipped = {number // self.group_size for number, _ in faulty}
        return [
            [None] * width if number // self.group_size in skipped else row  # type: ignore[misc]
            for number, row in enumerate(rows)
        ]


def in_parallel(
    jobs: list[tuple[Reward, Rollout]], seconds: float
) -> list[float | Exception | None]:
    """Each job's value, or the exception that it ended in; TimeoutError for those without a value
    after `seconds`.

    The threads are daemons: a reward that hangs costs one of them and does not keep the process
    alive.
    """
    cells: list[float | Exception | None] = [TimeoutError(f"no value within {seconds:g} s")] * len(
        jobs
    )
    deadline = time.monotonic() + seconds
    numbers = iter(range(len(jobs)))  # shared: next() of a range is atomic

    def work() -> None:
        for number in numbers:
            if time.monotonic() > deadline:
                return
            try:
                cells[number] = value_of(*jobs[number])
            except Exception as error:
                cells[number] = error
            except SystemExit:
                cells[number] = RuntimeError("tried to end the process")

    threads = [threading.Thread(target=work, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return list(cells)


def opens_think(recipe: Recipe, tokenizer: Any) -> bool:
    """Whether the chat template itself writes <think> at the end of a prompt, so that completions
    start inside the block.
    """
    messages = prompt_for(Sample("", "What is 1 + 1?", "2"), recipe.data.system_prompt)
    return render(tokenizer, messages).rstrip().endswith("<think>")


def check_rewards(recipe: Recipe, tokenizer: Any) -> None:
    """The self-test of the recipe's rewards with the model's own chat template. Raises UserError
    with what is wrong.
    """
    rewards = expand(recipe.rewards)
    if faults := check_cases(run_cases(rewards, opens_think(recipe, tokenizer))):
        raise UserError(
            f"rewards: {'; '.join(faults)}. `python -m rewards RECIPE --self-test` shows it"
        )
