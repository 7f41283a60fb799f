"""What happens around the steps of a trainer, in the order in which it must happen.

transformers calls these methods in this order: on_step_begin, then generation, rewards, forward and
backward, on_pre_optimizer_step, the optimizer, on_optimizer_step, on_step_end, on_log.
"""

from dataclasses import asdict
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from onecard.console.display import Advance
from onecard.model.adapter import lora_b_norm
from onecard.model.policy import Policy
from onecard.run.keeper import Keeper
from onecard.run.round import Round
from onecard.run.together import first_says
from onecard.stages.choosing import ByPassRate
from onecard.stages.evaluations import ask_dev
from onecard.stages.training import Training
from onecard.stages.trl.grpo_trainer import OnecardGrpoTrainer
from onecard.stages.trl.largest_step import try_largest_step
from onecard.stages.trl.private_names import (
    TRL_DRIFT,
    TRL_REJECTED,
    add_metric,
    is_whole,
    last_advantages,
)
from onecard.stages.trl.state import TrainingState, take_state
from onecard.watch.alarm_log import AlarmLog
from onecard.watch.batch import measure, outcomes, pick, readable, signal_share
from onecard.watch.clock import StepClock
from onecard.watch.memory_use import memory_gib
from onecard.watch.metric_names import (
    DRIFT,
    LORA_B_NORM,
    MEMORY,
    REJECTED,
    SKIPPED,
    SKIPPED_IN_A_ROW,
)

COMPLETIONS_SHOWN = 4
STEPS_BETWEEN_COMPLETIONS = 10


class GrpoSteps(TrainerCallback):
    """Around a step of GRPO."""

    trainer: OnecardGrpoTrainer

    def __init__(
        self,
        training: Training,
        one: Round,
        policy: Policy,
        keeper: Keeper[TrainingState],
        clock: StepClock,
        advance: Advance,
    ) -> None:
        self.training, self.round, self.policy, self.keeper = training, one, policy, keeper
        self.clock, self.advance, self.journal = clock, advance, training.journal_of(one)
        self.health = AlarmLog(training.health, training.run, self.journal, training.display)
        self.tried = False  # the largest step
        # What an interrupted run had counted.
        history = self.journal.history
        counted = [line for line in history if SKIPPED in line]
        last = counted[-1] if counted else {}
        self.skipped = int(last.get(SKIPPED, 0))
        self.skipped_in_a_row = int(last.get(SKIPPED_IN_A_ROW, 0))

    def attach(self, trainer: OnecardGrpoTrainer) -> None:
        """TRL does not hand its trainer to callbacks."""
        self.trainer = trainer

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The largest step is tried before the first. The clock comes last: that is no step."""
        if not self.tried:
            self.tried = True
            try_largest_step(self.trainer, self.training, self.clock)
        self.clock.begin_step()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """A step that has nothing to say is left out."""
        self.skip_useless()

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # the card works on while Python is ahead of it
        self.clock.end_step()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.round.of_last_stage:
            ask_dev(self.training, self.journal, self.counted(state))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Journal, health, checkpoint: in this order.

        Health reads the journal, and a checkpoint holds it. Health may end the training, and the
        checkpoint must know that.
        """
        if not logs or "loss" not in logs:
            return  # the summary at the end of training
        step = self.counted(state)
        self.record(step, state.global_step, logs)
        if "reward" in logs and self.is_hopeless(step):
            control.should_training_stop = True
        self.keep(state, control)

    def skip_useless(self) -> None:
        """Leave the weights, and the optimizer's moments, as they are after a useless step.

        That is one where a gradient is no finite number, or where within every group all rewards
        were alike: a KL term and old momentum alone would move the weights. Counted in the
        metrics; health ends a training that does nothing else.
        """
        model = self.trainer.model
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        broken = not all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
        # By the rewards: TRL's advantages of rewards all alike are 0 only where those are exact in
        # binary.
        alike = not signal_share(self.trainer.columns.all_scored)
        # A scaler of 16-bit losses leaves broken steps out by itself.
        if alike or (broken and self.trainer.accelerator.scaler is None):
            model.zero_grad()
        useless = alike or broken
        self.skipped += useless
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if useless else 0
        add_metric(self.trainer, SKIPPED, float(self.skipped))
        add_metric(self.trainer, SKIPPED_IN_A_ROW, float(self.skipped_in_a_row))

    def counted(self, state: TrainerState) -> int:
        """The step as metrics count it: through all rounds."""
        return self.round.steps_before + int(state.global_step)

    def record(self, step: int, of_round: int, logs: dict[str, Any]) -> None:
        """Write the step to the journal, with what TRL does not measure."""
        columns = self.trainer.columns
        measured: dict[str, float | None] = {
            LORA_B_NORM: lora_b_norm(self.trainer.model),
            MEMORY: memory_gib(),
        }
        measured |= self.clock.seconds
        if "reward" in logs:  # not where a step uses completions for the second time
            measured |= measure(columns.all_sampled, columns.scorer.rewards)
            self.journal.groups(step, outcomes(columns.all_sampled))
        choice = self.trainer.choice
        if isinstance(choice, ByPassRate):
            measured |= {f"problems/{name}": rate for name, rate in choice.by_level().items()}
        if self.trainer.section.final_temperature is not None:
            measured["temperature"] = self.trainer.temperature
        for name, trl_name in (
            (DRIFT, TRL_DRIFT),
            (REJECTED, TRL_REJECTED),
            # Names that tutorials teach.
            ("objective/kl", "kl"),
            ("objective/entropy", "entropy"),
        ):
            if logs.get(trl_name) is not None:
                measured[name] = logs[trl_name]
        self.journal.log(step, measured, trl=logs)
        self.advance(of_round, reward=logs.get("reward"))
        picked = pick(
            columns.all_scored,
            columns.scorer.labels,
            last_advantages(self.trainer),
            COMPLETIONS_SHOWN,
            columns.step_credit,
        )
        self.journal.newest(step, [asdict(one) for one in picked])
        if step == 1 or step % STEPS_BETWEEN_COMPLETIONS == 0:
            if isinstance(choice, ByPassRate):
                self.journal.histogram(step, "problems/pass_rate", choice.pass_rates())
            self.journal.text(step, "completions", readable(picked))

    def is_hopeless(self, step: int) -> bool:
        """Tell what health finds; whether it wants training to end."""
        columns = self.trainer.columns
        return first_says(self.health.look(step, columns.all_scored, columns.scorer.labels))

    def keep(self, state: TrainerState, control: TrainerControl) -> None:
        """Have a whole step ready for the disk: a checkpoint holds no completions."""
        if not is_whole(self.trainer):
            return
        stops = control.should_training_stop
        ended_early = stops and state.global_step < state.max_steps
        metrics = self.journal.content()
        own = self.trainer.own_state()
        self.keeper.take(take_state(self.trainer, own, metrics, ended_early), now=stops)
