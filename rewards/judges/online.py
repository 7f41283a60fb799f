"""A reward model that goes on learning while the policy does, from what the rules say of it.

Every few steps it is trained on recent completions, right or wrong by the grader. Problems that are
held out say whether it still tells them apart; where it does so worse and worse, it is put back to
its best and frozen.
All that it is, is in the checkpoint: weights, optimizer, completions, and its random numbers.
"""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any, Protocol

from pydantic import Field, model_validator

from onecard.section import Count, Positive, Section
from onecard.types import Rollout, Verdict
from rewards.base import Context, Outcome
from rewards.judges.ranks import Judged, is_held_out, pairs_of, share_in_order, sigmoid
from rewards.judges.reward_model import (
    Asked,
    RewardModel,
    RewardModelScorer,
    ScoringModel,
    asked_of,
)

# What a label can be made of: a completion that was cut off is neither right nor wrong.
LABELS = {Verdict.CORRECT: True, Verdict.WRONG: False, Verdict.NO_ANSWER: False}
FALL = 0.1  # of the held-out ranking, below its best; assumed
FALLS = 2  # one after the other, and it is frozen; assumed
FEWEST_PAIRS = 10  # that say anything about ranking; assumed


class Online(Section):
    """That a reward model goes on learning: every so many steps, from what the grader has said of
    the newest `buffer` completions. `updates` optimizer steps each time. `held_out` is the share of
    problems that it never learns from, by which it is judged; `seed` says which, where it is not
    the run's. A model that this run trained before held the same ones out.
    """

    every_steps: Count = 10
    updates: Count = 8
    batch_size: Count = 16
    learning_rate: Positive = 1e-4
    buffer: Count = 512
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.2
    seed: Annotated[int, Field(ge=0)] | None = None


class LearningRewardModel(RewardModel):
    """A reward model that may go on learning: `online`."""

    online: Online | None = None

    @model_validator(mode="after")
    def check(self) -> "LearningRewardModel":
        if self.online and (self.family != "sequence" or self.load_in_4bit):
            raise ValueError(
                "online: a model that learns is one of the family `sequence`, and not in 4 bit"
            )
        return self

    @property
    def learns(self) -> bool:
        return self.online is not None

    def open(self, context: Context) -> RewardModelScorer:
        return OnlineScorer(self, context) if self.learns else super().open(context)


class LearningModel(ScoringModel, Protocol):
    """A scoring model that can be trained."""

    def learn(self, asked: Sequence[Asked], right: Sequence[bool]) -> float:
        """One optimizer step on completions with their labels; the loss before it."""

    def state(self) -> dict[str, Any]:
        """Weights and optimizer."""

    def load_state(self, state: dict[str, Any]) -> None: ...

    def weights(self) -> dict[str, Any]:
        """A copy of what it is now."""

    def put_weights(self, weights: dict[str, Any]) -> None:
        """Be that again."""


@dataclass(frozen=True)
class Example:
    """A completion that the rules have judged."""

    problem: str
    asked: Asked
    right: bool

    def as_row(self) -> list[Any]:
        """Plain values, for a checkpoint."""
        prompt = self.asked.prompt
        plain = prompt if isinstance(prompt, str) else [dict(message) for message in prompt]
        return [self.problem, plain, self.asked.steps, self.right]

    @classmethod
    def of_row(cls, row: list[Any]) -> "Example":
        problem, prompt, steps, right = row
        return cls(problem, Asked(prompt, steps), right)


class OnlineScorer(RewardModelScorer):
    """Scores a batch, and learns from it after that."""

    def __init__(self, reward: LearningRewardModel, context: Context) -> None:
        super().__init__(reward, context)
        assert reward.online is not None
        self.online: Online = reward.online
        self.say = context.say
        self.examples: deque[Example] = deque(maxlen=self.online.buffer)
        self.seed = context.seed if self.online.seed is None else self.online.seed
        self.random = random.Random(self.seed)
        self.steps = 0  # of training, scored so far
        self.step = -1  # the one that is scored
        self.best: float | None = None  # ranking of held-out problems
        self.best_weights: dict[str, Any] | None = None
        self.falls = 0  # updates in a row that ranked them worse
        self.frozen = False

    def score(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        learns = self.moment.in_training and self.ready() is not None
        if learns:
            self.begin_step(self.moment.trainer_state.global_step)
        outcomes = super().score(rollouts)
        if learns:
            self.remember(rollouts)
        return outcomes

    def begin_step(self, step: int) -> None:
        """Learn, where it is time. A step may be scored in several batches, by one model."""
        if step == self.step:
            return
        self.step = step
        if self.steps and self.steps % self.online.every_steps == 0 and not self.frozen:
            self.update()
        self.steps += 1

    def remember(self, rollouts: Sequence[Rollout]) -> None:
        for rollout in rollouts:
            if rollout.problem.kind != "none" and rollout.verdict in LABELS:
                asked = asked_of(rollout.problem, rollout.text)
                label = LABELS[rollout.verdict]
                self.examples.append(Example(rollout.problem.id, asked, label))

    def is_held_out(self, example: Example) -> bool:
        return is_held_out(example.problem, self.online.held_out, self.seed)

    def update(self) -> None:
        """Some optimizer steps, and what they did to the ranking of held-out problems."""
        held_out = [example for example in self.examples if self.is_held_out(example)]
        seen = [example for example in self.examples if not self.is_held_out(example)]
        if len({example.right for example in seen}) < 2:
            return  # nothing to tell apart
        before = self.scores_of(held_out)
        losses = []
        for _ in range(self.online.updates):
            batch = self.random.sample(seen, min(self.online.batch_size, len(seen)))
            asked, right = [each.asked for each in batch], [each.right for each in batch]
            losses.append(self.learner.learn(asked, right))
        after = self.scores_of(held_out)
        log = self.moment.log_metric
        log("reward_model/loss", fmean(losses))
        if after:
            moved = [abs(new - old) for new, old in zip(after, before, strict=True)]
            log("reward_model/drift", fmean(moved))
            rule = fmean(float(example.right) for example in held_out)
            log("reward_model/gap", fmean(map(sigmoid, after)) - rule)
        self.watch(held_out, after)

    @property
    def learner(self) -> LearningModel:
        model: Any = self.model
        learner: LearningModel = model
        return learner

    def scores_of(self, examples: Sequence[Example]) -> list[float]:
        """0 for one that is too long: it is too long before an update and after it."""
        said = self.learner.scores([example.asked for example in examples])
        return [scores[0] if scores else 0.0 for scores in said]

    def watch(self, held_out: Sequence[Example], scores: Sequence[float]) -> None:
        """Freeze it where it ranks held-out problems worse, one update after the other."""
        judged = [
            Judged(example.problem, example.right, len(example.asked.text), score)
            for example, score in zip(held_out, scores, strict=True)
        ]
        pairs = [pair for of_problem in pairs_of(judged) for pair in of_problem]
        if len(pairs) < FEWEST_PAIRS:
            return
        ranking = share_in_order(pairs)
        self.moment.log_metric("reward_model/ranking", ranking)
        if self.best is None or ranking > self.best:
            self.best, self.best_weights = ranking, self.learner.weights()
        self.falls = self.falls + 1 if ranking < self.best - FALL else 0
        if self.falls >= FALLS and self.best_weights is not None:
            self.frozen = True
            self.learner.put_weights(self.best_weights)
            self.best_weights = None
            self.say(
                f"reward_model: it tells {ranking:.0%} of the held-out pairs apart, {self.best:.0%}"
                " at its best: it is what it was then, frozen, and does not learn any more"
            )

    def state(self) -> dict[str, Any]:
        return super().state() | {
            "model": self.learner.state() if self.model is not None else None,
            "examples": [one.as_row() for one in self.examples],
            "random": self.random.getstate(),
            "steps": self.steps,
            "step": self.step,
            "best": self.best,
            "best_weights": self.best_weights,
            "falls": self.falls,
            "frozen": self.frozen,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        if state["model"] is not None:
            self.ready()
            self.learner.load_state(state["model"])
        kept = [Example.of_row(row) for row in state["examples"]]
        self.examples = deque(kept, maxlen=self.online.buffer)
        version, numbers, gauss = state["random"]
        self.random.setstate((version, tuple(numbers), gauss))
        self.steps, self.step = state["steps"], state["step"]
        self.best, self.best_weights = state["best"], state["best_weights"]
        self.falls, self.frozen = state["falls"], state["frozen"]
