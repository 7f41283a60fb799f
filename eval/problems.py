"""The problems of a run: trained on, and asked before, during and after. None is in both."""

from dataclasses import dataclass

from eval.section import Eval
from eval.task import Task, load_task
from onecard.data.source import Source
from onecard.types import Problem, Sampling, UserError
from rewards.answer.section import Answer


@dataclass(frozen=True)
class Problems:
    """What a run trains on, and what it is asked.

    `benchmarks` are put to the policy before and after training; `dev`, where the recipe wants it,
    before step 1 and during.
    """

    train: tuple[Problem, ...]
    benchmarks: tuple[Task, ...]
    dev: Task | None


def load_problems(
    source: Source, asked: Eval, answer: Answer, system_prompt: str | None
) -> Problems:
    """All that a recipe names.

    Raises UserError for data that is not there or not right, and for benchmarks that would be
    trained on.
    """

    def load(benchmark: str, limit: int | None) -> Task:
        """A benchmark as a run is asked it: zero-shot and greedy."""
        return load_task(
            benchmark,
            source,
            Sampling(asked.max_completion_length, asked.batch_size),
            system_prompt=system_prompt,
            answer_format=answer.format,
            limit=limit,
        )

    train = source.load("train")
    benchmarks = tuple(load(name, asked.limit) for name in asked.benchmarks)
    dev = load(source.dev_benchmark, asked.dev_problems) if asked.every_steps else None
    for task in (*benchmarks, *([dev] if dev else [])):
        check_unseen(train, task)
    return Problems(tuple(train), benchmarks, dev)


def check_unseen(train: list[Problem], task: Task) -> None:
    """Raise UserError, with row numbers, where a problem of a task is among the training ones."""
    trained = {problem.question.strip(): problem.id for problem in train}
    seen = []
    for problem in task.problems:
        if row := trained.get(problem.question.strip()):
            seen.append(f"{problem.id} (training row {row})")
    if seen:
        raise UserError(
            f"eval.benchmarks: {len(seen):,} problems of {task.benchmark} are in the training"
            f" data: rows {', '.join(seen[:5])}"
        )
