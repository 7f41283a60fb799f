"""Onecard's own trainer as train.py builds it, for those who measure nothing but its steps."""

from typing import Any

import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
from transformers import TrainerControl, TrainerState, TrainingArguments

from onecard.stages.training import Training
from onecard.stages.trl.build import build_grpo_trainer
from onecard.stages.trl.callback import GrpoSteps
from onecard.stages.trl.grpo_trainer import OnecardGrpoTrainer
from onecard.watch.clock import StepClock


class OnlyTimed(GrpoSteps):
    """Tries the largest step before the first, and times them all.

    Nothing is skipped, evaluated, watched or kept: what is put beside us does not do it either. A
    model of random weights earns nothing, so every step would be left out and the run ended.
    """

    def __init__(self, training: Training, clock: StepClock) -> None:
        self.training, self.clock = training, clock
        self.tried = False  # the largest step

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Every step is taken."""

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
        """The trainer's own history is enough."""


def build_trainer(training: Training, clock: StepClock) -> OnecardGrpoTrainer:
    """The GRPO trainer of a run, timed by `clock`."""
    policy = training.load_policy()
    one = next(one for one in training.sections.all_rounds if one.stage == "grpo")
    return build_grpo_trainer(training, one, policy, OnlyTimed(training, clock), clock)
