"""A batch of completions under all rewards of a recipe. A reward that fails is never a zero."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from onecard.types import Rollout, RunFailed, Score, Verdict
from rewards.answer.grader import graded, seconds_of
from rewards.answer.kinds.code import AT_ONCE
from rewards.answer.section import Answer
from rewards.base import (
    Context,
    Fault,
    Moment,
    Outcome,
    Reward,
    Scorer,
    at_step_0,
    checked,
    checked_steps,
)
from rewards.deadline import in_parallel
from rewards.section import Scoring
from rewards.steps import step_ends

NOT_GRADED = Score(0.0, Verdict.GRADER_ERROR)
LONGEST_SHOWN = 500  # characters of the completion on which a reward failed


@dataclass(frozen=True)
class Scored:
    """One completion under all rewards.

    `rollout` is graded. `scores` has one entry for each reward, None where it does not apply or
    where the group was left out. `total` is the weighted sum: what the completion is paid.
    `compared` is what training compares within a group, each kind for itself: the total, or what
    each reward pays, or what the steps are paid. `steps` is the last of these, where it is known.
    """

    rollout: Rollout
    scores: tuple[Score | None, ...]
    total: float
    compared: tuple[tuple[float, ...], ...]
    steps: tuple[float, ...] = ()

    def values(self) -> list[float | None]:
        """What each reward says, before its weight."""
        return [None if score is None else score.value for score in self.scores]


class BatchScorer:
    """The opened rewards of a recipe. To be closed when the run is over.

    `apart`: training compares what each reward pays, and not their sum (normalize_then_sum).
    `by_step`: it compares what the steps of completions are paid. `accepts`: it learns from all
    completions that are accepted, and from no others.
    """

    def __init__(
        self,
        rewards: Sequence[Reward],
        answer: Answer,
        scoring: Scoring,
        columns: frozenset[str] | None = None,
        max_steps: int = 1,
        apart: bool = False,
        by_step: bool = False,
        say: Callable[[str], None] = print,
        load_model: Callable[[Any], Any] | None = None,
        seed: int = 0,
        accepts: bool = False,
    ) -> None:
        self.rewards, self.apart, self.by_step = tuple(rewards), apart, by_step
        self.accepts = accepts
        self.answer, self.scoring = answer, scoring
        self.faults = 0  # since the start of the run
        self.moment = Moment(at_step_0(max_steps))
        limit = scoring.deadline_seconds
        context = Context(answer, limit, columns, self.moment, say, load_model, seed)
        self.scorers = [reward.open(context) for reward in self.rewards]

    @property
    def labels(self) -> list[str]:
        return [reward.label for reward in self.rewards]

    @property
    def weights(self) -> list[float]:
        return [reward.weight for reward in self.rewards]

    def score(self, rollouts: Sequence[Rollout]) -> list[Scored]:
        """Every rollout under every reward, in order; whole groups.

        Raises RunFailed at the first fault, where `scoring.on_error` is stop.
        """
        begun = {
            scorer: scorer.start(rollouts) for scorer in self.scorers if not scorer.reads_verdicts
        }
        rollouts = self.grade(rollouts)
        rows = self.outcomes(rollouts, begun)
        skipped = set()
        for place, row in enumerate(rows):
            for reward, cell in zip(self.rewards, row, strict=True):
                if not isinstance(cell, Fault):
                    continue
                self.stop_at(reward, place, rollouts[place], cell)
                self.faults += 1
                skipped.add(rollouts[place].group)
        scored = []
        for rollout, row in zip(rollouts, rows, strict=True):
            scores = gated(
                self.rewards,
                [
                    None if rollout.group in skipped or isinstance(cell, Fault) else cell
                    for cell in row
                ],
            )
            scored.append(self.scored(rollout, scores))
        return scored

    def scored(self, rollout: Rollout, scores: tuple[Score | None, ...]) -> Scored:
        """What a completion is paid in all, and what of that training compares."""
        paid = weighted(self.rewards, scores)
        total = sum(paid, start=0.0)
        if self.by_step:
            steps = step_pays(self.rewards, scores, len(step_ends(rollout.text)))
            return Scored(rollout, scores, total, (steps,), steps)
        if self.accepts:  # each is held against 0: a group that is all right teaches something
            return Scored(rollout, scores, total, ((float(is_accepted(rollout, total)), 0.0),))
        compared = tuple((one,) for one in paid) if self.apart else ((total,),)
        return Scored(rollout, scores, total, compared)

    def grade(self, rollouts: Sequence[Rollout]) -> list[Rollout]:
        """The rollouts with the verdict of the one grader, which all rewards and measures read."""
        jobs = [partial(graded, rollout, self.answer.format) for rollout in rollouts]
        # Programs have their own time limits: one that hangs costs its own, and no other's.
        own = [seconds_of(rollout.problem) for rollout in rollouts]
        at_most = sum(own) / AT_ONCE + max(own, default=0.0)
        found = in_parallel(jobs, self.scoring.deadline_seconds + at_most)
        return [
            replace(rollout, graded=NOT_GRADED) if isinstance(value, Exception) else value
            for rollout, value in zip(rollouts, found, strict=True)
        ]

    def outcomes(
        self,
        rollouts: Sequence[Rollout],
        begun: Mapping[Scorer, Callable[[], list[Outcome]]] = MappingProxyType({}),
    ) -> list[list[Outcome]]:
        """What each reward says of each graded rollout: a row for each rollout.

        `begun`: those that were started already.
        """
        started = [begun.get(scorer) or scorer.start(rollouts) for scorer in self.scorers]
        columns = []
        for finish, reward in zip(started, self.rewards, strict=True):
            column = [checked(outcome) for outcome in finish()]
            assert len(column) == len(rollouts), f"{reward.label}: one outcome for each completion"
            column = [checked_steps(*pair) for pair in zip(column, rollouts, strict=True)]
            columns.append(column)
        return [list(row) for row in zip(*columns, strict=True)]

    def values_of(self, label: str, rollouts: Sequence[Rollout]) -> list[float | None]:
        """What one reward says of every rollout, outside of training; whole groups.

        A fault is None where `scoring.on_error` is skip_group; else it raises RunFailed.
        """
        place = self.labels.index(label)
        rollouts = self.grade(rollouts)
        with self.moment.before_training():
            column = [checked(outcome) for outcome in self.scorers[place].score(rollouts)]
        values: list[float | None] = []
        for number, outcome in enumerate(column):
            if isinstance(outcome, Fault):
                self.stop_at(self.rewards[place], number, rollouts[number], outcome)
                values.append(None)
                continue
            values.append(None if outcome is None else outcome.value)
        return values

    def stop_at(self, reward: Reward, place: int, rollout: Rollout, fault: Fault) -> None:
        """Raise RunFailed over a fault, where `scoring.on_error` is stop."""
        if self.scoring.on_error == "stop":
            raise RunFailed(fault_text(reward, place, rollout, fault))

    def renew(self, number: int) -> None:
        """Have models that the run trains loaded anew after round `number` of their stage."""
        for scorer in self.scorers:
            scorer.renew(number)

    def close(self) -> None:
        for scorer in self.scorers:
            scorer.close()

    def state(self) -> dict[str, Any]:
        """For a checkpoint: the faults so far, and what rewards remember."""
        remembered = {
            label: scorer.state() for label, scorer in zip(self.labels, self.scorers, strict=True)
        }
        return {"faults": self.faults, "rewards": remembered}

    def load_state(self, state: dict[str, Any]) -> None:
        self.faults = state["faults"]
        for label, scorer in zip(self.labels, self.scorers, strict=True):
            scorer.load_state(state["rewards"][label])


def is_accepted(rollout: Rollout, total: float) -> bool:
    """Whether a completion ended and the grader, or without a right answer any pay, accepts it."""
    known = rollout.problem.kind != "none"
    right = rollout.verdict == Verdict.CORRECT if known else total > 0
    return right and not rollout.truncated


def gated(rewards: Sequence[Reward], scores: Sequence[Score | None]) -> tuple[Score | None, ...]:
    """The scores, where a gate gives nothing without what others would pay."""
    shut = any(
        reward.gate and score is not None and score.value <= 0
        for reward, score in zip(rewards, scores, strict=True)
    )
    if not shut:
        return tuple(scores)
    left = []
    for reward, score in zip(rewards, scores, strict=True):
        pays = score is not None and not reward.gate and reward.weight * score.value > 0
        shut_out = replace(score, value=0.0, per_step=None) if score is not None else None
        left.append(shut_out if pays else score)
    return tuple(left)


def weighted(rewards: Sequence[Reward], scores: Sequence[Score | None]) -> list[float]:
    """What each reward pays, of gated scores. One that does not apply pays nothing."""
    return [
        0.0 if score is None else reward.weight * score.value
        for reward, score in zip(rewards, scores, strict=True)
    ]


def step_pays(
    rewards: Sequence[Reward], scores: Sequence[Score | None], count: int
) -> tuple[float, ...]:
    """What each of `count` steps is paid. A reward for the whole completion pays at its end."""
    pays = [0.0] * count
    for reward, score in zip(rewards, scores, strict=True):
        if score is None or not count:
            continue
        of_steps = score.per_step
        if of_steps is None:
            of_steps = (*[0.0] * (count - 1), score.value)
        pays = [pay + reward.weight * value for pay, value in zip(pays, of_steps, strict=True)]
    return tuple(pays)


def total_of(rewards: Sequence[Reward], scores: Sequence[Score | None]) -> float:
    """What a completion is paid in all."""
    return sum(weighted(rewards, gated(rewards, scores)), start=0.0)


def fault_text(reward: Reward, place: int, rollout: Rollout, fault: Fault) -> str:
    reason = f"{type(fault.error).__name__}: {fault.error}"
    if fault.whole_batch:
        return f"reward {reward.label} failed on a whole batch: {reason}"
    return (
        f"reward {reward.label} failed on problem {rollout.problem.id}, row {place} of the batch:"
        f" {reason}. The completion was:\n{rollout.text[:LONGEST_SHOWN]}\n"
        "`scoring.on_error: skip_group` leaves such groups out."
    )
