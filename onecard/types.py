"""The words that every part of Onecard shares. Standard library only: anything may import this."""

from dataclasses import dataclass
from enum import StrEnum


class UserError(ValueError):
    """Something that the person at the keyboard can put right: one sentence, exit code 2, no traceback."""


@dataclass(frozen=True)
class Sample:
    """One problem. `gold` is the bare number that counts as right, `solution` the worked text for the warm-up."""

    id: str
    question: str
    gold: str
    solution: str = ""


@dataclass(frozen=True)
class Completion:
    """What a policy wrote after one prompt; `truncated` when it hit the token limit before its end token."""

    text: str
    tokens: int
    truncated: bool


class Verdict(StrEnum):
    """Why a completion has its score. A bool would hide the difference between a wrong answer and none."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    TRUNCATED = "truncated"
    GRADER_ERROR = "grader_error"


@dataclass(frozen=True)
class Score:
    """One completion under one reward: the value, and for graders the verdict and the answer that was read."""

    value: float
    verdict: Verdict | None = None
    extracted: str | None = None


@dataclass(frozen=True)
class Rollout:
    """A completion as rewards see it. `think_opened`: the chat template itself wrote <think> at the prompt's end."""

    sample: Sample
    text: str
    tokens: int
    truncated: bool = False
    think_opened: bool = False


@dataclass(frozen=True)
class EvalItem:
    """One benchmark problem, answered: a line of items.jsonl."""

    id: str
    question: str
    gold: str
    completion: str
    tokens: int
    extracted: str | None
    verdict: Verdict
    strict: bool
    flexible: bool
    equations: int


@dataclass(frozen=True)
class EvalResult:
    """One benchmark, evaluated once. Shares are in [0, 1] over all `n` problems; `mean_tokens` in tokens."""

    benchmark: str
    when: str
    items: tuple[EvalItem, ...]

    @property
    def n(self) -> int:
        return len(self.items)

    def share(self, verdict: Verdict) -> float:
        return sum(item.verdict == verdict for item in self.items) / self.n

    @property
    def accuracy(self) -> float:
        return self.share(Verdict.CORRECT)

    @property
    def strict(self) -> float:
        return sum(item.strict for item in self.items) / self.n

    @property
    def flexible(self) -> float:
        return sum(item.flexible for item in self.items) / self.n

    @property
    def step_by_step(self) -> float:
        """Share of completions that write two equations or more: a worked solution, not one jump."""
        return sum(item.equations >= 2 for item in self.items) / self.n

    @property
    def mean_tokens(self) -> float:
        return sum(item.tokens for item in self.items) / self.n
