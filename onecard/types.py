"""The words that every part of Onecard shares. Standard library only: anything may import this."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

FOLDER_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class UserError(ValueError):
    """Something that the person at the keyboard can put right: one sentence, exit code 2, no
    traceback.
    """


class RunFailed(RuntimeError):
    """A run that cannot go on, told without a traceback: exit code 1. What it has kept can be
    resumed.
    """


@dataclass(frozen=True)
class Sample:
    """One problem. `gold` is the bare number that counts as right, `solution` the worked text for
    the warm-up.
    """

    id: str
    question: str
    gold: str
    solution: str = ""


@dataclass(frozen=True)
class Completion:
    """What a policy wrote after one prompt; `truncated` when it hit the token limit before its end
    token.
    """

    text: str
    tokens: int
    truncated: bool


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn. Temperature 0 is greedy decoding; `samples` is how many
    completions a prompt gets.

    `batch_size` completions are generated at once by an engine that does not schedule them itself.
    `stop`: strings that end a completion and are cut off it, besides the model's own end tokens.
    """

    max_completion_length: int  # tokens
    batch_size: int
    temperature: float = 0.0
    samples: int = 1
    seed: int = 0
    stop: tuple[str, ...] = ()


class Verdict(StrEnum):
    """Why a completion has its score. A bool would hide the difference between a wrong answer and
    none.
    """

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    TRUNCATED = "truncated"
    GRADER_ERROR = "grader_error"


@dataclass(frozen=True)
class Score:
    """One completion under one reward: the value, and for graders the verdict and the answer that
    was read.
    """

    value: float
    verdict: Verdict | None = None
    extracted: str | None = None


@dataclass(frozen=True)
class Rollout:
    """A completion as rewards see it. `think_opened`: the chat template itself wrote <think> at the
    prompt's end.

    `place` is its place among all the completions of a run, the same in a run that was interrupted
    and resumed.
    """

    sample: Sample
    text: str
    tokens: int
    truncated: bool = False
    think_opened: bool = False
    place: int = 0


@dataclass(frozen=True)
class EvalItem:
    """One completion to one benchmark problem, graded: a line of items.jsonl. `sample` counts a
    problem's completions from 0.
    """

    id: str
    sample: int
    question: str
    prompt: str  # as the model was given it
    gold: str
    completion: str
    tokens: int
    truncated: bool  # it hit the token limit
    extracted: str | None  # what the grader read
    verdict: Verdict
    strict: bool  # right by lm-evaluation-harness's strict-match
    flexible: bool  # right by its flexible-extract
    equations: int

    @property
    def correct(self) -> bool:
        return self.verdict == Verdict.CORRECT


@dataclass(frozen=True)
class EvalResult:
    """One benchmark, evaluated once: its items by problem, in the benchmark's order, each problem's
    samples together.
    """

    benchmark: str
    items: tuple[EvalItem, ...]

    @property
    def problems(self) -> list[list[EvalItem]]:
        return [list(samples) for _, samples in groupby(self.items, key=lambda item: item.id)]

    def share(self, holds: Callable[[EvalItem], bool]) -> float:
        """Of all completions, in [0, 1]; with equally many a problem that is also the mean over
        problems.
        """
        return sum(map(holds, self.items)) / len(self.items)
