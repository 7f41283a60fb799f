"""A round whose trainer needs no rewards: its steps are measured, kept, and asked about on dev."""

from collections.abc import Callable
from typing import Any

from transformers import (
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from onecard.console.display import Advance
from onecard.model.policy import Policy
from onecard.run.keeper import Keeper
from onecard.run.round import Round
from onecard.stages.evaluations import ask_dev, best_on_dev, best_step
from onecard.stages.training import Training
from onecard.stages.trl.state import TrainingState, take_state

# A trainer's own count of tokens, which begins again where a run is resumed.
NOT_LOGGED = ("num_tokens", "epoch")


class PlainSteps(TrainerCallback):
    """Around a step: on_step_end comes before on_log."""

    def __init__(
        self, training: Training, one: Round, keeper: Keeper[TrainingState], advance: Advance
    ) -> None:
        self.training, self.round, self.keeper, self.advance = training, one, keeper, advance
        self.journal = training.journal_of(one)
        self.trainer: Any = None

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.round.of_last_stage:
            ask_dev(self.training, self.journal, self.round.steps_before + state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if not logs or "loss" not in logs:
            return  # the summary at the end of training
        measured = {name: value for name, value in logs.items() if name not in NOT_LOGGED}
        self.journal.log(self.round.steps_before + state.global_step, {}, trl=measured)
        self.advance(state.global_step, loss=logs["loss"])
        metrics = self.journal.content()
        self.keeper.take(take_state(self.trainer, self.trainer.own_state(), metrics), now=False)


def train_round(
    training: Training, one: Round, policy: Policy, build: Callable[[PlainSteps], Any]
) -> None:
    """Train a round from where it was interrupted. `build` makes its trainer, given the steps."""
    keeper = training.keeper(one, policy, best=lambda has: best_step(training, one, has))
    with training.display.phase(one.title, one.max_steps, begun=keeper.kept) as advance:
        steps = PlainSteps(training, one, keeper, advance)
        trainer = build(steps)
        steps.trainer = trainer
        trainer.remove_callback(PrinterCallback)  # our progress display says it better
        with training.keeping(keeper):
            last = trainer.train_from(training.checkpoint_of(one))
    training.last_step = one.steps_before + last
    if one.of_last_stage:
        training.best_on_dev = best_on_dev(training, one, keeper.has)
