"""What a run asks the policy: benchmarks, and the dev split every few steps; its best step."""

from collections.abc import Callable
from typing import Any

from rich.console import Console

from eval.task import Task
from onecard.console.display import Display
from onecard.run.checkpoint import ADAPTER
from onecard.run.journal import Journal
from onecard.run.round import Round
from onecard.stages.training import Training
from onecard.types import EvalResult


def ask(training: Training, task: Task, when: str) -> EvalResult:
    """Put a task to the policy as it is now."""
    from eval.asking import evaluate

    policy, folder = training.load_policy(), training.run.evaluation(task.benchmark, when)
    what = f"{task.benchmark} {when}"
    return evaluate(policy, task, folder, training.display, what, scorer=training.scorer)


def write_scores(training: Training, step: int, results: list[EvalResult]) -> None:
    """Evaluations at a step, to metrics.jsonl and TensorBoard."""
    from eval.scores import scores

    training.journal.evaluation(step, {result.benchmark: scores(result) for result in results})


def ask_dev(training: Training, journal: Journal, step: int) -> None:
    """Put the dev task, where it is time for it, to the policy.

    Training goes on as if it had not been asked. `step`: of all rounds of the stage.
    """
    import torch

    from eval.asking import evaluate
    from eval.scores import scores

    task, every = training.dev, training.dev_every_steps
    if task is None or every is None or step % every:
        return
    folder = training.run.evaluation(task.benchmark, f"step-{step}")
    quiet = Display(Console(quiet=True))  # the bar of the whole phase is on the screen
    policy = training.load_policy()
    result = evaluate(policy, task, folder, quiet, task.benchmark, scorer=training.scorer)
    journal.evaluation(step, {task.benchmark: scores(result)})
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # training gets back what generation's cache took


def dev_accuracies(training: Training) -> dict[int, float]:
    """The accuracy on the dev split by step, as it was measured; step 0 is before training."""
    if training.dev is None:
        return {}
    key = f"eval/{training.dev.benchmark}/accuracy"
    return {
        line["step"]: line[key] for line in training.journal.history if line.get(key) is not None
    }


def best_step(training: Training, one: Round, has: Callable[[int], bool]) -> int | None:
    """Of a round's steps with a checkpoint, the first with the highest accuracy on dev.

    None in a stage before the last, in which dev is not asked.
    """
    if not one.of_last_stage:
        return None
    measured = dev_accuracies(training)
    kept = [step for step in measured if has(step - one.steps_before)]
    best = max(kept, key=lambda step: measured[step], default=None)
    return None if best is None else best - one.steps_before


def best_on_dev(
    training: Training, one: Round, has: Callable[[int], bool]
) -> dict[str, Any] | None:
    """The best step on the dev split, where its adapter is, and the accuracy before training.

    None where that was not measured, or none of the measured steps is kept.
    """
    step = best_step(training, one, has)
    if step is None:
        return None
    measured, counted = dev_accuracies(training), one.steps_before + step
    folder = training.run.checkpoints(one.label) / f"checkpoint-{step}" / ADAPTER
    return {
        "step": counted,
        "accuracy": measured[counted],
        "before": measured.get(0),
        "adapter": str(folder.relative_to(training.run.folder)),
    }
