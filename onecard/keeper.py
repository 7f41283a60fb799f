"""Saves a run: copies the state to memory after every whole step, writes it to the disk on
schedule, and at once when told to stop.
"""

import threading
import time
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from onecard.checkpoint import ADAPTER, new_checkpoint, prune
from onecard.journal import Journal
from onecard.recipe import Recipe
from onecard.runs import Run
from onecard.training_state import TrainingState, take_state, write_state

if TYPE_CHECKING:
    from trl import GRPOTrainer

    from onecard.policy import Policy


class Keeper(TrainerCallback):
    """Comes after the callbacks that write to the journal, so that a checkpoint has the metrics of
    its own step, and may end training.

    A step is whole when its completions have served all their iterations: a checkpoint holds no
    completions.
    """

    trainer: "GRPOTrainer"  # set by build_trainer

    def __init__(
        self,
        recipe: Recipe,
        run: Run,
        policy: "Policy",
        journal: Journal,
        facts: dict[str, Any],
        kept: int,
    ) -> None:
        self.save, self.run, self.policy, self.journal, self.facts = (
            recipe.save,
            run,
            policy,
            journal,
            facts,
        )
        self.dev_accuracy = f"eval/{recipe.dev_benchmark}/accuracy"
        self.ready: TrainingState | None = None
        self.kept = kept  # the step of the newest checkpoint
        self.kept_at = time.monotonic()
        # two threads keep: training, and the one that hears signals
        self.writing = threading.Lock()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        step, trainer = state.global_step, self.trainer
        if (
            not logs
            or "loss" not in logs
            or trainer._step % (trainer.args.steps_per_generation * trainer.num_iterations)
        ):
            return
        self.ready = take_state(
            trainer,
            self.run.metrics.read_bytes(),
            ended_early=control.should_training_stop and step < state.max_steps,
        )
        planned = step // self.save.every_steps > self.kept // self.save.every_steps
        minutes = (time.monotonic() - self.kept_at) / 60
        if (
            planned
            or minutes >= self.save.every_minutes
            or step == self.best_step
            or control.should_training_stop
        ):
            self.keep()

    @property
    def best_step(self) -> int | None:
        best = self.best()
        return best["step"] if best else None

    def best(self) -> dict[str, Any] | None:
        """Of the steps that are kept, or about to be, the first with the highest accuracy on the
        dev split, where its adapter is, and what the accuracy was before training. None where that
        was not measured.
        """
        measured = {
            line["step"]: line[self.dev_accuracy]
            for line in self.journal.history
            if line.get(self.dev_accuracy) is not None
        }
        ready = self.ready.step if self.ready else None
        kept = [
            step
            for step in measured
            if step == ready or (self.run.checkpoints / f"checkpoint-{step}").is_dir()
        ]
        if not kept:
            return None
        step = max(kept, key=lambda step: measured[step])
        adapter = f"{self.run.checkpoints.name}/checkpoint-{step}/{ADAPTER}"
        return {
            "step": step,
            "accuracy": measured[step],
            "before": measured.get(0),
            "adapter": adapter,
        }

    def keep(self) -> int:
        """Put the last whole step on the disk, if it is not there yet; return its number, 0 where
        there is none.
        """
        with self.writing:
            state = self.ready
            if state is not None and state.step > self.kept:
                with new_checkpoint(
                    self.run.checkpoints,
                    state.step,
                    self.facts | {"ended_early": state.ended_early},
                ) as folder:
                    write_state(state, folder, self.policy)
                self.kept, self.kept_at = state.step, time.monotonic()
                self.run.note_seconds()
                prune(self.run.checkpoints, self.save.keep, self.best_step)
            return self.kept
