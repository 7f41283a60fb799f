"""The one object that train.py fills and every stage takes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eval.task import Task
from onecard.console.display import Display
from onecard.console.stopping import Stopping
from onecard.data.section import Data
from onecard.machine.gpu_memory import CardUse
from onecard.model.section import Lora, Model
from onecard.run.checkpoint import Checkpoint
from onecard.run.folder import Run
from onecard.run.journal import Journal
from onecard.run.keeper import Keeper
from onecard.run.section import Save
from onecard.stages.sections import StageSections
from onecard.types import Problem
from onecard.watch.section import Health
from rewards.answer.section import Answer
from rewards.scoring import BatchScorer

if TYPE_CHECKING:
    from onecard.model.policy import Policy
    from onecard.stages.trl.state import TrainingState


@dataclass
class Training:
    """A run under way: what the recipe says, what it works on, and what came out so far.

    `problems` are those whose prompts fit. `weights` is the folder or hub id that the run starts
    from. `origin` is what its checkpoints belong to. `how_to_save` is one sentence: what to type
    where memory does not hold the recipe.
    """

    # What the recipe says.
    seed: int
    model: Model
    lora: Lora
    data: Data
    answer: Answer
    sections: StageSections
    save: Save
    health: Health
    pilot: int
    dev_every_steps: int | None
    # What it works on, and with.
    run: Run
    journal: Journal
    display: Display
    stopping: Stopping
    weights: str
    how_to_save: str
    scorer: BatchScorer
    origin: dict[str, Any]
    card: CardUse | None = None
    problems: list[Problem] = field(default_factory=list)
    dev: Task | None = None
    # The stage and the checkpoint from which an interrupted run goes on.
    resumed_stage: str | None = None
    checkpoint: Checkpoint | None = None
    # What came out so far.
    policy: "Policy | None" = None
    last_step: int = 0
    best_on_dev: dict[str, Any] | None = None

    def checkpoint_of(self, stage: str) -> Checkpoint | None:
        """The checkpoint from which a stage goes on; None where it begins anew."""
        return self.checkpoint if stage == self.resumed_stage else None

    def load_policy(self, weights: str | None = None) -> "Policy":
        """The policy; loaded with a fresh adapter where it was not, or where `weights` are new."""
        from onecard.model.load import load_policy

        if self.policy is not None and weights is None:
            return self.policy
        grpo = self.sections.grpo
        self.policy = load_policy(
            self.model,
            self.lora,
            weights or self.weights,
            self.run.folder,
            seed=self.seed,
            gradient_checkpointing=grpo.gradient_checkpointing,
            completions_at_once=grpo.completions_per_step,
            how_to_save=self.how_to_save,
        )
        return self.policy

    def keeper(
        self,
        stage: str,
        policy: "Policy",
        best: Callable[[Callable[[int], bool]], int | None] = lambda _: None,
    ) -> "Keeper[TrainingState]":
        """What keeps a stage's state; `best` as in Keeper."""
        from onecard.stages.trl.state import write_state

        checkpoint = self.checkpoint_of(stage)
        return Keeper(
            self.run.checkpoints(stage),
            self.save,
            self.origin,
            write=lambda state, folder: write_state(state, folder, policy),
            best=best,
            after=self.run.note_seconds,
            kept=checkpoint.step if checkpoint else 0,
        )

    @contextmanager
    def keeping(self, keeper: Keeper[Any]) -> Iterator[None]:
        """While a stage trains: a signal, or an error, puts its last whole step on the disk.

        A signal that comes after it finds that step still there.
        """

        def keep_and_tell() -> str:
            step = keeper.keep()
            return f"step {step} is kept; add --resume to the command to go on"

        self.stopping.finish = keep_and_tell
        try:
            yield
        except BaseException:
            keeper.keep()  # the step before the one that failed
            raise
