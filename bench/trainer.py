"""Onecard's own trainer as train.py builds it, for those who measure nothing but its steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
from transformers import TrainerControl, TrainerState, TrainingArguments

from eval.problems import Problems
from onecard.console.display import Display
from onecard.recipe.schema import Recipe
from onecard.run.folder import open_run
from onecard.run.resume import Resumed
from onecard.stages.training import Training
from onecard.stages.trl.build import build_grpo_trainer
from onecard.stages.trl.callback import GrpoSteps
from onecard.stages.trl.trainers import OnecardGrpoTrainer
from onecard.types import Problem
from onecard.watch.clock import StepClock
from train import prepare


class OnlyTimed(GrpoSteps):
    """Tries the largest step before the first, and times them all.

    Nothing is skipped, evaluated, watched or kept: whoever is compared with us does not either.
    """

    def __init__(self, training: Training, clock: StepClock) -> None:
        self.training, self.clock = training, clock
        self.tried = False

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Every step counts."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """There is no dev split."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """transformers' own history is enough."""


def prepare_alone(recipe: Recipe, problems: Sequence[Problem], folder: Path) -> Training:
    """What train.py prepares for the stages of a run in a new `folder`, with nothing to evaluate.

    A model that is made on the spot is made there.
    """
    run = open_run(folder.parent, folder.name, recipe.resolved())
    nothing_asked = Problems(tuple(problems), benchmarks=(), dev=None)
    return prepare(recipe, nothing_asked, Resumed(run, None, None), Display())


def build_trainer(training: Training, clock: StepClock) -> OnecardGrpoTrainer:
    """The trainer of the run's GRPO, timed by `clock`."""
    policy = training.load_policy()
    return build_grpo_trainer(training, policy, OnlyTimed(training, clock), clock)
