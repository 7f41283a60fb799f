"""What every reward is: an entry of a recipe, checked by its own schema, that opens into a scorer.

A rule that looks at one completion at a time is a `Rule`: one class with one function. Whatever
compares the completions of a group, or has a process, a socket or weights, is a `Reward` that opens
into a `Scorer` of its own.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from types import SimpleNamespace
from typing import Any, ClassVar

from pydantic import model_validator

from onecard.section import Section
from onecard.types import Problem, Rollout, Score, Verdict
from rewards.answer.grader import GraderError
from rewards.answer.section import Answer
from rewards.deadline import in_parallel
from rewards.steps import step_ends


@dataclass(frozen=True)
class Fault:
    """A reward that failed on one completion. It is counted, and it is never a zero.

    `whole_batch`: it failed on all completions at once, and no single one is to blame.
    """

    error: Exception
    whole_batch: bool = False


def whole_batch_failed(error: Exception, rollouts: Sequence[Rollout]) -> "list[Outcome]":
    """One fault for each completion of a batch, of which no single one is to blame."""
    return [Fault(error, whole_batch=True)] * len(rollouts)


Outcome = Score | Fault | None  # None: the reward does not apply to this completion


def ignore(name: str, value: Any) -> None:
    """Where there is no log."""


def at_step_0(max_steps: int = 1) -> Any:
    """TRL's trainer_state where there is no trainer."""
    return SimpleNamespace(global_step=0, max_steps=max_steps, epoch=0.0, log_history=[])


@dataclass
class Moment:
    """Where training stands, in TRL's words, for functions that ask for it.

    RewardColumns sets it before each batch. In the self-test, in the pilot and in evaluations
    there is no trainer: it is step 0, and what is logged goes nowhere.
    """

    trainer_state: Any = field(default_factory=at_step_0)
    log_extra: Callable[[str, list[Any]], None] = ignore
    log_metric: Callable[[str, float], None] = ignore

    @property
    def in_training(self) -> bool:
        """Whether a step is being scored, and not a self-test, the pilot or an evaluation."""
        return self.log_metric is not ignore

    @contextmanager
    def before_training(self) -> Iterator[None]:
        """Step 0 inside, whatever the step is: an evaluation scores alike before and after."""
        now = self.trainer_state, self.log_extra, self.log_metric
        self.trainer_state = at_step_0(now[0].max_steps)
        self.log_extra = self.log_metric = ignore
        try:
            yield
        finally:
            self.trainer_state, self.log_extra, self.log_metric = now


@dataclass(frozen=True)
class Context:
    """What an entry may need when it is opened, besides its own keys.

    `deadline_seconds` is for one batch. A scorer keeps it itself: what has no value by then is a
    Fault. `columns` are the names of the rows' columns, None where they are not known. `moment`
    changes as training goes on. `say` tells a person something. `load_model` loads the model of a
    reward that has one (rewards/judges/reward_model.py). `seed` is the run's.
    """

    answer: Answer
    deadline_seconds: float
    columns: frozenset[str] | None = None
    moment: Moment = field(default_factory=Moment)
    say: Callable[[str], None] = print
    load_model: Callable[[Any], Any] | None = None
    seed: int = 0


class Scorer:
    """An opened reward. `score` is called from one thread at a time.

    `reads_verdicts`: it needs what the grader says of a rollout. One that does not is started
    before the grading, which may run programs.
    """

    reads_verdicts = True

    def score(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """One outcome for each rollout, in order. The rollouts are graded; groups are whole."""
        raise NotImplementedError

    def look_at(self, problems: Sequence[Problem]) -> list[str]:
        """Before training, on a few rows of it: what a person should know, a sentence each."""
        return []

    def start(self, rollouts: Sequence[Rollout]) -> Callable[[], list[Outcome]]:
        """Begin to score, and return what gives the outcomes.

        All rewards are started before the first one is waited for. One that waits for something
        else, such as a service, does so meanwhile; all others do their work at the end.
        """
        return partial(self.score, rollouts)

    def close(self) -> None:
        """Let go of processes, sockets and weights."""

    def state(self) -> dict[str, Any]:
        """What decides later scores, as plain JSON values, for a checkpoint."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what state() gave."""

    def renew(self, number: int) -> None:
        """Let go of a model that the run trains: its stage does round `number` now."""


class Reward(Section):
    """A name, a weight, and the keys of its own. What is paid is weight x Score.value.

    `gate`: a completion to which this reward gives nothing is paid nothing by all others either.
    What they take away, they take still. `only_costs`: it never gives anything, and is no gate.
    """

    only_costs: ClassVar[bool] = False

    name: str
    weight: float = 1.0
    gate: bool = False

    @model_validator(mode="after")
    def check_gate(self) -> "Reward":
        if self.gate and self.only_costs:
            raise ValueError(
                f"gate: {self.name} never gives anything, so nothing would ever be paid; leave"
                " `gate` out"
            )
        return self

    @property
    def label(self) -> str:
        """What TRL, TensorBoard and messages call it."""
        return self.name

    @property
    def pays_for_layout(self) -> bool:
        """Whether it pays for the form of a completion, whatever that says."""
        return False

    def open(self, context: Context) -> Scorer:
        raise NotImplementedError

    def parts(self) -> "list[Reward]":
        """The rewards that this entry stands for: itself, or the parts of a preset."""
        return [self]


class Rule(Reward):
    """A reward that is a pure function of one completion."""

    def open(self, context: Context) -> "RuleScorer":
        return RuleScorer(self, context.deadline_seconds)

    def score(self, rollout: Rollout) -> Score | None:
        """The score of one graded rollout; None where the rule does not apply."""
        raise NotImplementedError


class RuleScorer(Scorer):
    """Applies a rule to each completion of a batch. A failure is one completion's own."""

    def __init__(self, rule: Rule, deadline_seconds: float) -> None:
        self.rule, self.deadline_seconds = rule, deadline_seconds

    def score(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        jobs = [partial(self.rule.score, rollout) for rollout in rollouts]
        values = in_parallel(jobs, self.deadline_seconds)
        return [Fault(value) if isinstance(value, Exception) else value for value in values]


def checked(outcome: Outcome) -> Outcome:
    """An outcome as it is, or a Fault where it is no finite number, or where the grader failed."""
    if outcome is None or isinstance(outcome, Fault):
        return outcome
    if not isinstance(outcome, Score) or not math.isfinite(outcome.value):
        return Fault(ValueError(f"returned {outcome!r}, wanted a finite number or None"))
    if outcome.verdict == Verdict.GRADER_ERROR:
        read = outcome.extracted
        return Fault(GraderError(f"the grader came to no verdict on {read!r} in time"))
    return outcome


def checked_steps(outcome: Outcome, rollout: Rollout) -> Outcome:
    """An outcome as it is, or a Fault where it has another number of steps than the completion."""
    if not isinstance(outcome, Score) or outcome.per_step is None:
        return outcome
    count, wanted = len(outcome.per_step), len(step_ends(rollout.text))
    if count != wanted or not all(map(math.isfinite, outcome.per_step)):
        return Fault(ValueError(f"{count} values for {wanted} steps, or one that is not finite"))
    return outcome


def whole_groups(rollouts: Sequence[Rollout]) -> list[list[Rollout]]:
    """The rollouts of each prompt; they stand together."""
    return [list(group) for _, group in groupby(rollouts, key=lambda rollout: rollout.group)]
