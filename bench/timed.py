"""Has Onecard's step clock time a trainer of TRL's own, or the one that Unsloth generates of it.

Ours is timed by onecard/stages/trl/, which imports Unsloth; stock TRL must do without.
"""

from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from onecard.watch.clock import StepClock


class TimedSteps(TrainerCallback):  # type: ignore[misc]
    """Tells a clock where a step begins and ends, as GrpoSteps does."""

    def __init__(self, clock: StepClock) -> None:
        self.clock = clock

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.clock.begin_step()

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # the card works on while Python is ahead of it
        self.clock.end_step()


def timed(trainer: Any, clock: StepClock) -> Any:
    """The trainer, with its steps and their parts counted by a clock."""
    generate = clock.part("generation")(trainer._generate)

    def counted(*arguments: Any, **named: Any) -> Any:
        result = generate(*arguments, **named)
        completion_ids = result[1]
        clock.tokens += sum(map(len, completion_ids))
        return result

    trainer._generate = counted
    trainer._calculate_rewards = clock.part("reward")(trainer._calculate_rewards)
    # The last one: what others do at a step's beginning is not the step's.
    trainer.add_callback(TimedSteps(clock))
    return trainer
