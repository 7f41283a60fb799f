"""The one grader, of training and of evaluation alike."""

from dataclasses import replace
from decimal import Decimal

from onecard.types import Rollout, Score, Verdict
from rewards.answer.markers import declared
from rewards.answer.number import LONGEST_ANSWER, PLAIN_NUMBER, read_number
from rewards.answer.section import AnswerFormat
from rewards.answer.symbolic import same_expression


class GraderError(TimeoutError):
    """The grader came to no verdict in time."""


def grade(
    completion: str | None, gold: str, answer_format: AnswerFormat = "auto", truncated: bool = False
) -> Score:
    """1.0 if the completion declares exactly `gold`, else 0.0; with verdict and the text read.

    It never takes a number out of the working. Without a marker the verdict is NO_ANSWER, or
    TRUNCATED where the token limit cut the completion off. Golds that are plain decimal numbers are
    compared exactly. Any other gold goes to math-verify, which compares to six decimals, in a
    process of its own; GRADER_ERROR says that it did not answer in time.

    Never raises, never hangs, gives the same on every thread, and takes time linear in the length
    of the completion.
    """
    if not isinstance(completion, str):
        return Score(0.0, Verdict.NO_ANSWER)
    text = str.__getitem__(completion, slice(None))  # a subclass of str may override anything
    spans = declared(text, answer_format)
    if not spans:
        return Score(0.0, Verdict.TRUNCATED if truncated else Verdict.NO_ANSWER)
    extracted = " | ".join(spans)[:LONGEST_ANSWER]
    numbers = {read_number(span) for span in spans}
    contradictory = len(spans) > 1 and (len(numbers) > 1 or None in numbers)
    if contradictory or len(spans[0]) > LONGEST_ANSWER:
        return Score(0.0, Verdict.WRONG, extracted)
    if PLAIN_NUMBER.fullmatch(gold):
        right: bool | None = numbers == {Decimal(gold)}
    else:
        right = same_expression(spans[0], gold)
    if right is None:
        return Score(0.0, Verdict.GRADER_ERROR, extracted)
    return Score(float(right), Verdict.CORRECT if right else Verdict.WRONG, extracted)


def graded(rollout: Rollout, answer_format: AnswerFormat) -> Rollout:
    """The rollout with what the grader says of it: every reward and measure reads that."""
    score = grade(rollout.text, rollout.problem.gold, answer_format, rollout.truncated)
    return replace(rollout, graded=score)


def is_right(rollout: Rollout) -> bool:
    """Whether a graded rollout is right. Raises GraderError where that is not known."""
    if rollout.verdict == Verdict.GRADER_ERROR:
        read = rollout.graded.extracted if rollout.graded else None
        raise GraderError(f"math-verify gave no verdict on {read!r} in time")
    return rollout.verdict == Verdict.CORRECT
