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
    where nothing was kept. `before`: the rounds before it, all of them finished.
    """

    run: Run
    origin: dict[str, Any]
    round: Round | None = None
    checkpoint: Checkpoint | None = None
    before: tuple[Round, ...] = ()

    @property
    def steps(self) -> int:
        """The steps of the round's stage that are done."""
        if self.round is None:
            return 0
        if self.checkpoint is None:
            return self.round.steps_after
        return self.round.steps_before + self.checkpoint.step

    @property
    def in_last_stage(self) -> bool:
        """Whether that has begun."""
        return self.last_stage_steps is not None

    @property
    def last_stage_steps(self) -> int | None:
        """The steps of the last stage that are done; None where it has not begun.

        A reward model may be renewed between its rounds.
        """
        if self.round is not None and self.round.of_last_stage:
            return self.steps
        done = [one.steps_after for one in self.before if one.of_last_stage]
        return done[-1] if done else None

    def __str__(self) -> str:
        if self.round is None:
            return "from the start: no step was kept"
        if self.checkpoint is None:
            return f"after {self.round.title}"
        return f"after step {self.checkpoint.step} of {self.round.title}"
