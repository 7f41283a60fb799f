"""The words that every part of Onecard shares. Standard library only: anything may import this."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Any

LONGEST_NAME = 100  # characters of a run folder's name
FOLDER_NAME = rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}$"


class UserError(ValueError):
    """Something that the person at the keyboard can put right. One sentence, exit code 2."""


class RunFailed(RuntimeError):
    """A run that cannot go on; what it has kept can be resumed. One sentence, exit code 1."""


Messages = Sequence[Mapping[str, str]]  # of a chat, each with its role and content


@dataclass(frozen=True)
class Problem:
    """A row of a data set.

    `gold` is the answer that counts as right, without any marker, and `kind` says how answers are
    compared with it (rewards/answer/section.py); structured golds are JSON text. `solution` is the
    worked text that leads to it, which SFT trains on. `prompt` is there where the row says itself
    how it is put: as chat messages, or as plain text without any chat template. `columns` are all
    values of the row as they were written, for reward functions.
    """

    id: str
    question: str
    gold: str
    solution: str = ""
    kind: str = "number"
    prompt: str | Messages | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Completion:
    """What a model wrote after one prompt. `truncated`: it hit the token limit before its end.

    `ids` are its tokens, up to and with the end token.
    """

    text: str
    tokens: int
    truncated: bool
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn. Temperature 0 is greedy decoding.

    `samples` is how many completions a prompt gets. `batch_size` completions are generated at once
    by an engine that does not schedule them itself. `stop`: strings that end a completion and are
    cut off it, besides the model's own end tokens.
    """

    max_completion_length: int  # tokens
    batch_size: int
    temperature: float = 0.0
    samples: int = 1
    seed: int = 0
    stop: tuple[str, ...] = ()


class Verdict(StrEnum):
    """What the grader says of a completion. A wrong answer is not the same as no answer."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    TRUNCATED = "truncated"
    GRADER_ERROR = "grader_error"


@dataclass(frozen=True)
class Score:
    """One completion under one reward. A grader adds its verdict and the answer that it read.

    `per_step`: what each of the completion's steps is worth (rewards/steps.py), from a reward that
    judges steps.
    """

    value: float
    verdict: Verdict | None = None
    extracted: str | None = None
    per_step: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Rollout:
    """A completion as rewards see it.

    `think_opened`: the chat template itself wrote <think> at the end of the prompt. `place` counts
    the completions of a run, and is the same in a run that was interrupted and resumed. The
    completions of one prompt have the same `group`. `graded` is what the one grader says; it is
    there before a reward sees the rollout. `prompt` is what the model was put: chat messages, or
    text. `ids` are the completion's tokens, where it has some.
    """

    problem: Problem
    text: str
    tokens: int
    truncated: bool = False
    think_opened: bool = False
    place: int = 0
    group: int = 0
    graded: Score | None = None
    prompt: str | Messages = ()
    ids: tuple[int, ...] = ()

    @property
    def verdict(self) -> Verdict:
        assert self.graded is not None
        assert self.graded.verdict is not None
        return self.graded.verdict


@dataclass(frozen=True)
class EvalItem:
    """One completion to one benchmark problem, graded: a line of items.jsonl.

    `sample` counts a problem's completions from 0. `score`: what the reward says that the recipe
    names in `eval.score`; None without one, or where it does not apply.
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
    score: float | None = None

    @property
    def correct(self) -> bool:
        return self.verdict == Verdict.CORRECT


@dataclass(frozen=True)
class EvalResult:
    """One benchmark, evaluated once.

    Items are in the benchmark's order, the completions of one problem next to each other.
    """

    benchmark: str
    items: tuple[EvalItem, ...]

    @property
    def problems(self) -> list[list[EvalItem]]:
        """The items of each problem."""
        return [list(items) for _, items in groupby(self.items, key=lambda item: item.id)]

    def share(self, holds: Callable[[EvalItem], bool]) -> float:
        """The share of completions for which something holds, in [0, 1].

        With as many completions for each problem that is also the mean over problems.
        """
        return sum(map(holds, self.items)) / len(self.items)
