"""A model that gives a score: to a whole completion, or to each of its steps.

Here is what such a reward is. The model itself is loaded by onecard/model/scoring, which
is handed in: nothing in this room imports torch.
"""

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Any, Literal, NamedTuple, Protocol

from onecard.section import Count
from onecard.types import Messages, Problem, Rollout, Score, UserError
from rewards.base import Context, Fault, Outcome, Reward, Scorer
from rewards.judges.agreement import agreement
from rewards.steps import steps_of

Family = Literal["sequence", "token", "qwen_prm", "math_shepherd"]
LEAST_DEVIATION = 1e-6
TRAINED = "trained"  # by the run itself, in its stage reward_model


class Asked(NamedTuple):
    """A completion as a model is shown it: after its prompt, and step by step."""

    prompt: str | Messages
    steps: list[str]

    @property
    def text(self) -> str:
        return "".join(self.steps)


class ScoringModel(Protocol):
    """A loaded model."""

    def scores(self, asked: Sequence[Asked]) -> list[tuple[float, ...] | None]:
        """One score for each completion, or one for each of its steps; None for a too long one."""


class RewardModel(Reward):
    """Pays what the model says. `model` is a hub id, a folder, or `trained`: by this run itself.

    `family` says how its score is read: `sequence` is a model for sequence classification with one
    label; `token` one for token classification, read at the last token of each step; `qwen_prm` is
    Qwen2.5-Math-PRM, which marks the end of a step with <extra_0>, and brings Python files of its
    own; `math_shepherd` marks it with a token of its own and says + or - there. The last three
    score steps, and the completion is worth its weakest one.

    `device`: where the machine has a card, it is loaded there, unless this says `cpu`. `normalize`
    takes the mean of the first batch of training from every score and divides by its deviation.
    Gamed by whatever the model likes and nobody wants: length, confidence, familiar phrases.
    Guarded by nothing: put it beside a rule, and look at `rewards/reward_model` in TensorBoard.
    """

    name: Literal["reward_model"]
    model: str
    family: Family = "sequence"
    device: Literal["card", "cpu"] | None = None
    load_in_4bit: bool = False
    trust_remote_code: bool = False
    batch_size: Count = 16
    max_length: Count = 1024  # tokens of prompt and completion; longer ones are faults
    normalize: bool = False

    @property
    def learns(self) -> bool:
        """Whether it goes on learning while the policy does."""
        return False

    def open(self, context: Context) -> "RewardModelScorer":
        return RewardModelScorer(self, context)


class RewardModelScorer(Scorer):
    """Scores a whole batch with the model, on the main thread.

    `scale`: the mean and the deviation of the first batch of training. `number`: of the round in
    which the run has trained it; before the first one a resumed run has none either, so that it
    begins as it did the first time.
    """

    def __init__(self, reward: RewardModel, context: Context) -> None:
        if context.load_model is None:
            raise UserError("reward_model: it is scored in a run alone")
        self.reward, self.moment, self.answer = reward, context.moment, context.answer
        self.load = context.load_model
        self.number = 0
        self.model: ScoringModel | None = None
        self.scale: tuple[float, float] | None = None
        self.ready()

    def score(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        if self.ready() is None:  # its stage comes later
            return [None] * len(rollouts)
        asked = [asked_of(rollout.problem, rollout.text) for rollout in rollouts]
        assert self.model is not None
        said = self.model.scores(asked)
        if self.moment.in_training:
            self.log([min(scores, default=0.0) for scores in said if scores is not None])
        return [self.outcome(scores) for scores in said]

    def ready(self) -> ScoringModel | None:
        """The model, loaded as soon as it is there."""
        trained = self.number > 0 or self.reward.model != TRAINED
        if self.model is None and trained:
            self.model = self.load(self.reward)
        return self.model

    def renew(self, number: int) -> None:
        """Another model has another scale."""
        if self.reward.model == TRAINED:
            self.model, self.scale, self.number = None, None, number

    def outcome(self, scores: tuple[float, ...] | None) -> Outcome:
        if scores is None:
            limit = f"max_length {self.reward.max_length} tokens"
            return Fault(ValueError(f"prompt and completion have more than {limit}"))
        scaled = tuple(self.scaled(score) for score in scores)
        of_steps = scaled if self.reward.family != "sequence" else None
        # A completion without a step is worth what a score of 0 is.
        return Score(min(scaled, default=self.scaled(0.0)), per_step=of_steps)

    def scaled(self, score: float) -> float:
        if self.scale is None or not self.reward.normalize:
            return score
        middle, deviation = self.scale
        return (score - middle) / deviation

    def log(self, raw: Sequence[float]) -> None:
        """The scale of the scores, before they are normalised."""
        if not raw:
            return
        middle, deviation = fmean(raw), pstdev(raw)
        self.moment.log_metric("reward_model/mean", middle)
        self.moment.log_metric("reward_model/deviation", deviation)
        if self.number > 1:
            self.moment.log_metric("reward_model/number", float(self.number))
        if self.scale is None:
            self.scale = (middle, max(deviation, LEAST_DEVIATION))

    def look_at(self, problems: Sequence[Problem]) -> list[str]:
        """How often it prefers a right answer to a wrong one, in a few rows that have golds."""
        if self.ready() is None:
            return ["reward_model: it is trained in this run, and pays nothing before that"]
        found = agreement(self, problems, self.answer.format)
        if found is None:
            return ["reward_model: the rows have no right answers, so nobody knows how it judges"]
        return [
            f"reward_model: {self.reward.model} prefers the right answer to a wrong one in"
            f" {found[0]} of {found[1]} rows"
        ]

    def state(self) -> dict[str, Any]:
        return {"scale": list(self.scale) if self.scale else None, "number": self.number}

    def load_state(self, state: dict[str, Any]) -> None:
        scale = state["scale"]
        self.scale = (scale[0], scale[1]) if scale else None
        self.number = state["number"]


def asked_of(problem: Problem, text: str) -> Asked:
    """A completion of a problem, as every model is shown it."""
    return Asked(prompt_of(problem), steps_of(text))


def prompt_of(problem: Problem) -> str | Messages:
    """The question without the policy's system prompt: the model has one of its own, or none."""
    return problem.prompt or [{"role": "user", "content": problem.question}]
