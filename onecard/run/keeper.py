"""Keeps a stage's state: in memory after every whole step, on the disk on schedule and at signals.

What a state is, and how it is written, is the stage's own affair: it hands `write` in.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from onecard.run.checkpoint import new_checkpoint, prune
from onecard.run.process import is_first
from onecard.run.section import Save


class State(Protocol):
    """A stage after `step` steps, in memory. `ended_early`: health ended the training there."""

    @property
    def step(self) -> int: ...

    @property
    def ended_early(self) -> bool: ...


S = TypeVar("S", bound=State)


class Keeper(Generic[S]):
    """Writes checkpoints to `root`. Two threads keep: training, and the one that hears signals.

    `origin` is what the checkpoints belong to. `write` puts a state into an empty folder. `best`
    gives the step that is to stay whatever its age, of those for which it is asked whether their
    checkpoint is or will be there; None for no such step. `kept` is the step of the newest
    checkpoint that is there already.
    """

    def __init__(
        self,
        root: Path,
        save: Save,
        origin: dict[str, Any],
        write: Callable[[S, Path], None],
        best: Callable[[Callable[[int], bool]], int | None] = lambda _: None,
        after: Callable[[], None] = lambda: None,
        kept: int = 0,
    ) -> None:
        self.root, self.save, self.origin = root, save, origin
        self.write, self.best, self.after = write, best, after
        self.ready: S | None = None  # the last whole step, in memory
        self.kept = kept
        self.kept_at = time.monotonic()
        self.writing = threading.Lock()

    def take(self, state: S, now: bool) -> None:
        """Have a whole step ready, and write it if it is time, or if `now`."""
        self.ready = state
        every = self.save.every_steps
        planned = state.step // every > self.kept // every
        late = time.monotonic() - self.kept_at >= self.save.every_minutes * 60
        if planned or late or now or state.step == self.best_step:
            self.keep()

    @property
    def best_step(self) -> int | None:
        return self.best(self.has)

    def has(self, step: int) -> bool:
        """Whether the checkpoint of a step is there, or about to be."""
        ready = self.ready is not None and self.ready.step == step
        return ready or (self.root / f"checkpoint-{step}").is_dir()

    def keep(self) -> int:
        """Put the last whole step on the disk, if it is not there yet.

        Returns its number, 0 where there is none.
        """
        with self.writing:
            state = self.ready
            if state is None or state.step <= self.kept:
                return self.kept
            if is_first():
                origin = self.origin | {"ended_early": state.ended_early}
                with new_checkpoint(self.root, state.step, origin) as folder:
                    self.write(state, folder)
            self.kept, self.kept_at = state.step, time.monotonic()
            self.after()
            if is_first():
                prune(self.root, self.save.keep, self.best_step)
            return self.kept
