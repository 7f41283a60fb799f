"""The problems of a run: what it is trained on, and what it is asked before, during and after. None
is in both.
"""

from dataclasses import dataclass

from eval.task import Task, load_task
from onecard.data.samples import load_samples
from onecard.recipe import Recipe
from onecard.types import Sample, Sampling, UserError


@dataclass(frozen=True)
class Problems:
    """`benchmarks` are put to the policy before and after training; `dev`, where the recipe wants
    it, before step 1 and during.
    """

    train: tuple[Sample, ...]
    benchmarks: tuple[Task, ...]
    dev: Task | None


def load_problems(recipe: Recipe) -> Problems:
    """All that a recipe names. Raises UserError for data that is not there or not right, and for
    benchmarks that would be trained on.
    """
    train = load_samples(recipe.data.source, "train", recipe.data.train_problems)
    benchmarks = tuple(
        recipe_task(recipe, name, recipe.eval.limit) for name in recipe.eval.benchmarks
    )
    dev = (
        recipe_task(recipe, recipe.dev_benchmark, recipe.eval.dev_problems)
        if recipe.eval.every_steps
        else None
    )
    for task in (*benchmarks, *([dev] if dev else [])):
        check_unseen(train, task)
    return Problems(tuple(train), benchmarks, dev)


def recipe_task(recipe: Recipe, benchmark: str, limit: int | None) -> Task:
    """A benchmark as a run is asked it: zero-shot and greedy."""
    sampling = Sampling(recipe.eval.max_completion_length, recipe.eval.batch_size)
    return load_task(
        benchmark,
        recipe.data.source,
        sampling,
        system_prompt=recipe.data.system_prompt,
        answer_format=recipe.answer_format,
        limit=limit,
    )


def check_unseen(train: list[Sample], task: Task) -> None:
    """Raise UserError, with row numbers, where a problem of a task is among the training
    samples.
    """
    trained = {sample.question.strip(): sample.id for sample in train}
    seen = [
        (problem.id, trained[problem.question.strip()])
        for problem in task.problems
        if problem.question.strip() in trained
    ]
    if seen:
        rows = ", ".join(f"{there} (training row {here})" for there, here in seen[:5])
        raise UserError(
            f"eval.benchmarks: {len(seen):,} problems of {task.benchmark} are in the training data:"
            f" rows {rows}"
        )
