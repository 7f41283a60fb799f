"""The one grader, of training and of evaluation alike."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from onecard.types import Problem, Rollout, Score, Verdict
from rewards.answer.kinds.table import KINDS
from rewards.answer.number import PLAIN_NUMBER, read_number
from rewards.answer.section import AnswerFormat

NOTHING: Mapping[str, Any] = MappingProxyType({})


class GraderError(TimeoutError):
    """The grader came to no verdict in time."""


def grade(
    completion: str | None,
    gold: str,
    answer_format: AnswerFormat = "auto",
    truncated: bool = False,
    kind: str | None = None,
    columns: Mapping[str, Any] = NOTHING,
) -> Score:
    """1.0 if the completion declares exactly `gold`, else 0.0; with verdict and the text read.

    It never takes a number out of the working. Without a marker the verdict is NO_ANSWER, or
    TRUNCATED where the token limit cut the completion off. `kind` says how the answer is compared
    (rewards/answer/section.py). Without one, a plain decimal number is compared exactly, and any
    other gold as an expression: by math-verify, in a process of its own; GRADER_ERROR says that it
    did not answer in time. Of the kind `none` there is no right answer. `columns` are those of the
    problem's row; only the kind `gym` looks at them.

    Never raises, never hangs, gives the same on every thread, and takes time linear in the length
    of the completion.
    """
    if not isinstance(completion, str):
        return Score(0.0, Verdict.NO_ANSWER)
    text = str.__getitem__(completion, slice(None))  # a subclass of str may override anything
    kind = kind or ("number" if PLAIN_NUMBER.fullmatch(gold) else "expression")
    comparing = KINDS.get(kind)
    nothing = Score(0.0, Verdict.TRUNCATED if truncated else Verdict.NO_ANSWER)
    if comparing is None:
        return nothing
    longest = max(comparing.longest, 2 * len(gold))
    spans = comparing.declared(text, answer_format, longest)
    if not spans:
        return nothing
    extracted = " | ".join(spans)[:longest]
    if contradictory(spans) or len(spans[0]) > longest:
        return Score(0.0, Verdict.WRONG, extracted)
    right = comparing.judge(spans[0], gold, columns)
    if right is None:
        return Score(0.0, Verdict.GRADER_ERROR, extracted)
    return Score(float(right), Verdict.CORRECT if right else Verdict.WRONG, extracted)


def contradictory(spans: list[str]) -> bool:
    """Whether several answers are declared that are not one number, written in several ways."""
    numbers = {read_number(span) for span in spans}
    return len(spans) > 1 and (len(numbers) > 1 or None in numbers)


def graded(rollout: Rollout, answer_format: AnswerFormat) -> Rollout:
    """The rollout with what the grader says of it: every reward and measure reads that."""
    problem = rollout.problem
    score = grade(
        rollout.text,
        problem.gold,
        answer_format,
        rollout.truncated,
        problem.kind,
        problem.columns,
    )
    return replace(rollout, graded=score)


def seconds_of(problem: Problem) -> float:
    """The time of its own that grading an answer to a problem may take."""
    kind = KINDS.get(problem.kind or "")
    return kind.seconds(problem.gold) if kind else 0.0


def is_right(rollout: Rollout) -> bool:
    """Whether a graded rollout is right. Raises GraderError where that is not known."""
    if rollout.verdict == Verdict.GRADER_ERROR:
        read = rollout.graded.extracted if rollout.graded else None
        raise GraderError(f"the grader came to no verdict on {read!r} in time")
    return rollout.verdict == Verdict.CORRECT
