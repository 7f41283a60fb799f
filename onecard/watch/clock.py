"""Where the seconds of a GRPO step go: generation, reward, and training, which is all the rest."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from onecard.machine.gpu_memory import CardUse


class StepClock:
    """Times the parts of a step. stages/trl/timing.py puts it into a trainer.

    `seconds` is of the step that was last done, wall seconds but for the last: time/generation
    (prompts to completions, with what it takes to hand the weights to the engine), time/reward,
    time/training (log-probabilities, forward, backward, optimizer), and time/tokens_per_second,
    sampled tokens per second of generation. A step that goes over an earlier step's completions
    (`num_iterations`) has no tokens per second. Evaluation, checkpoints and logging are no part of
    a step. `card` is told what goes on, so that its peaks are those of generation and of training.
    """

    def __init__(self, card: CardUse | None = None) -> None:
        self.card = card
        self.seconds: dict[str, float] = {}
        self.began = 0.0
        self.spent = {"generation": 0.0, "reward": 0.0}
        self.tokens = 0

    def begin_step(self) -> None:
        self.began, self.tokens = time.perf_counter(), 0
        self.spent = dict.fromkeys(self.spent, 0.0)
        self.tell_card("training")

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what is inside to generation or to reward."""
        started = time.perf_counter()
        if name == "generation":
            self.tell_card("generation")
        yield
        self.spent[name] += time.perf_counter() - started
        if name == "generation":
            self.tell_card("training")

    def end_step(self) -> None:
        """To be called when the optimizer has taken its step and the card is done with it."""
        training = time.perf_counter() - self.began - sum(self.spent.values())
        self.tell_card(None)
        self.seconds = {f"time/{part}": seconds for part, seconds in self.spent.items()}
        self.seconds["time/training"] = training
        if self.tokens:
            self.seconds["time/tokens_per_second"] = self.tokens / self.spent["generation"]

    def tell_card(self, phase: str | None) -> None:
        if self.card is not None:
            self.card.phase = phase
