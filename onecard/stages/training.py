"""The one object that train.py fills and every stage takes."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eval.task import Task
from onecard.console.display import Display
from onecard.console.stopping import Stopping
from onecard.data.pairs import Pair
from onecard.data.section import Data
from onecard.files.atomic import atomic_folder
from onecard.machine.gpu_memory import CardUse
from onecard.model.section import Lora, Model
from onecard.run.checkpoint import Checkpoint
from onecard.run.folder import Run
from onecard.run.journal import Journal
from onecard.run.keeper import Keeper
from onecard.run.process import is_first
from onecard.run.resumed import Resumed
from onecard.run.round import Round
from onecard.run.section import Save
from onecard.stages.sections import StageSections
from onecard.types import Problem, UserError
from onecard.watch.section import Health
from rewards.answer.section import Answer
from rewards.scoring import BatchScorer

if TYPE_CHECKING:
    from onecard.model.policy import Policy
    from onecard.stages.trl.state import TrainingState

SEEDS_APART = 7919  # of the rounds of a stage


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
    pairs: dict[str, list[Pair]] = field(default_factory=dict)  # of completions, by stage
    dev: Task | None = None
    resumed: Resumed | None = None  # from where an interrupted run goes on
    # What came out so far.
    policy: "Policy | None" = None
    last_step: int = 0  # of the last stage, all its rounds together
    ended_early: bool = False  # the round that was trained last, by health
    choice: dict[str, Any] | None = None  # what dynamic sampling knows after the rounds so far
    best_on_dev: dict[str, Any] | None = None
    journals: dict[str, Journal] = field(default_factory=dict)  # of the stages before the last

    def checkpoint_of(self, one: Round) -> Checkpoint | None:
        """The checkpoint from which a round goes on; None where it begins anew."""
        return self.resumed.checkpoint if self.resumed and self.resumed.round == one else None

    def seed_of(self, one: Round) -> int:
        """Each round of a stage draws other problems, and other completions."""
        return (self.seed + SEEDS_APART * (one.number - 1)) % 2**32

    def journal_of(self, one: Round) -> Journal:
        """The measurements of a stage, those of its earlier rounds too."""
        if one.of_last_stage:
            return self.journal
        if one.stage not in self.journals:
            went_on = self.resumed is not None and self.resumed.round == one
            begun = went_on or one.number > 1
            step = self.resumed.steps if self.resumed and went_on else one.steps_before
            self.journals[one.stage] = Journal(self.run, step if begun else None, one.stage)
        return self.journals[one.stage]

    def load_policy(self, weights: str | None = None) -> "Policy":
        """The policy; loaded with a fresh adapter where it was not, or where `weights` are new."""
        from onecard.model.load import load_policy

        if self.policy is not None and weights is None:
            return self.policy
        self.policy = load_policy(
            self.model,
            self.lora,
            weights or self.weights,
            self.run.folder,
            seed=self.seed,
            gradient_checkpointing=self.sections.gradient_checkpointing,
            completions_at_once=self.sections.sampled_at_once,
            how_to_save=self.how_to_save,
        )
        if self.run.start_adapter.is_dir():
            self.load_start(self.policy)
        return self.policy

    def load_start(self, policy: "Policy") -> None:
        """Put the adapter of another run into the policy: this one goes on from it."""
        from onecard.model.adapter import load_adapter

        try:
            load_adapter(policy.model, self.run.start_adapter)
        except ValueError as error:
            raise UserError(f"model.adapter: {error}; `lora.target_modules` differ") from None

    def take_up(self, one: Round) -> bool:
        """Put the adapter of a round that is done already into the policy; False where none is."""
        from onecard.model.adapter import load_adapter

        kept = self.run.adapter_after(one.label)
        if not kept.is_dir():
            return False
        load_adapter(self.load_policy().model, kept)
        if self.run.state_after(one.label).is_dir():
            self.take_up_state(one)
        if is_first():
            shutil.rmtree(self.run.checkpoints(one.label), ignore_errors=True)
        self.display.say(f"{one.title} is done already: {kept}")
        return True

    def put_away(self, one: Round) -> None:
        """Keep what a round trained, where the run goes on after it.

        Its checkpoints have served their purpose. Those of the last round stay: a run may be made
        longer.
        """
        if one.is_last or (self.ended_early and one.of_last_stage):
            return
        if is_first():
            if one.stage == "grpo":
                self.put_away_state(one)
            self.load_policy().save(self.run.adapter_after(one.label))
            shutil.rmtree(self.run.checkpoints(one.label), ignore_errors=True)
        self.tell_kept(one)

    def put_away_state(self, one: Round) -> None:
        """Keep what rewards remember, and what is known of problems, for the rounds that follow."""
        from onecard.run.state import split, write_tree

        tensors: dict[str, Any] = {}
        state = {
            "scoring": self.scorer.state(),
            "choice": self.choice,
            "ended_early": self.ended_early,
        }
        tree = split(state, tensors)
        with atomic_folder(self.run.state_after(one.label)) as unfinished:
            write_tree(tree, tensors, unfinished)

    def take_up_state(self, one: Round) -> None:
        from onecard.run.state import read_tree

        state = read_tree(self.run.state_after(one.label))
        self.scorer.load_state(state["scoring"])
        self.choice, self.ended_early = state["choice"], state["ended_early"]

    def tell_kept(self, one: Round) -> None:
        """Have a signal that comes before the next stage's first step say what is kept."""
        self.stopping.finish = lambda: f"{one.title} is kept; add --resume to the command to go on"

    def keeper(
        self,
        one: Round,
        policy: "Policy",
        best: Callable[[Callable[[int], bool]], int | None] = lambda _: None,
    ) -> "Keeper[TrainingState]":
        """What keeps a round's state; `best` as in Keeper."""
        from onecard.stages.trl.state import write_state

        checkpoint = self.checkpoint_of(one)
        return Keeper(
            self.run.checkpoints(one.label),
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
