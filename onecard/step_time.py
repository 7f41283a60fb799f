"""Where the seconds of a GRPO step go: generation, reward, and training, which is all the rest of
it.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from onecard.machine.gpu_use import CardUse

if TYPE_CHECKING:
    from trl import GRPOTrainer


class StepTime(TrainerCallback):
    """Times the steps of a trainer of TRL's, or of the one that Unsloth generates for CUDA, whose
    methods have the same names.

    `seconds` is of the step that was last done, wall seconds but for the last: time/generation
    (prompts to completions, with what it takes to hand the weights to the engine), time/reward,
    time/training (log-probabilities, forward, backward, optimizer), and time/tokens_per_second,
    sampled tokens per second of generation. A step that goes over an earlier step's completions
    (`num_iterations`) has no tokens per second. Evaluation, checkpoints and logging are no part of
    a step. `card` is told what goes on, so that its peaks are those of generation and of training.
    """

    def __init__(self, trainer: "GRPOTrainer", card: CardUse | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self.card = card
        self.began, self.spent, self.tokens = 0.0, {"generation": 0.0, "reward": 0.0}, 0
        trainer._generate = self.timed("generation", trainer._generate)
        trainer._calculate_rewards = self.timed("reward", trainer._calculate_rewards)
        trainer.add_callback(
            self
        )  # the last one: what others do at a step's beginning is not the step's

    def timed(self, part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            if part == "generation":
                self.tell_card("generation")
            result = method(*arguments, **named)
            self.spent[part] += time.perf_counter() - started
            if part == "generation":
                self.tell_card("training")
                self.tokens += sum(map(len, result[1]))  # completion_ids
            return result

        return measured

    def tell_card(self, phase: str | None) -> None:
        if self.card is not None:
            self.card.phase = phase

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.began, self.spent, self.tokens = time.perf_counter(), dict.fromkeys(self.spent, 0.0), 0
        self.tell_card("training")

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # the card works on while Python is ahead of it
        training = time.perf_counter() - self.began - sum(self.spent.values())
        self.tell_card(None)
        self.seconds = {
            f"time/{part}": seconds
            for part, seconds in (self.spent | {"training": training}).items()
        }
        if self.tokens:
            self.seconds["time/tokens_per_second"] = self.tokens / self.spent["generation"]
