"""A run that was interrupted, as it is found again."""

from dataclasses import dataclass
from typing import Any

from onecard.run.checkpoint import Checkpoint
from onecard.run.folder import Run
from onecard.run.round import Round


@dataclass(frozen=True)
class Resumed:
    """A run as it was when it was interrupted.

    `origin` is what its checkpoints belong to. `round` is the newest one of which something was
    kept: `checkpoint` in the middle of it, or None where the round was finished. Both are None
    where nothing was kept.
    """

    run: Run
    origin: dict[str, Any]
    round: Round | None = None
    checkpoint: Checkpoint | None = None

    @property
    def steps(self) -> int:
        """The steps of the round's stage that are done."""
        if self.round is None:
            return 0
        here = self.checkpoint.step if self.checkpoint else self.round.max_steps
        return self.round.steps_before + here

    @property
    def in_last_stage(self) -> bool:
        return self.round is not None and self.round.of_last_stage

    def __str__(self) -> str:
        if self.round is None:
            return "from the start: no step was kept"
        if self.checkpoint is None:
            return f"after {self.round.title}"
        return f"after step {self.checkpoint.step} of {self.round.title}"
