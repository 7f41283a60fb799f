"""How often a judge prefers a right answer to a wrong one, on a few rows with known answers."""

from collections.abc import Sequence

from onecard.types import Problem, Rollout, Score
from rewards.answer.kinds.table import KINDS
from rewards.answer.section import AnswerFormat
from rewards.base import Scorer

ROWS_LOOKED_AT = 8


def agreement(
    scorer: Scorer, problems: Sequence[Problem], answer_format: AnswerFormat
) -> tuple[int, int] | None:
    """In how many rows the right answer is worth more, and of how many; None where nobody can say.

    Both answers stand after the row's own solution, so that nothing but the answer tells them
    apart: a judge that likes what is long prefers neither.
    """
    pairs: list[Rollout] = []
    for problem in problems[:ROWS_LOOKED_AT]:
        kind = KINDS.get(problem.kind)
        right = kind.answer_of(problem) if kind else None
        if kind is None or right is None:
            continue
        for answer in (right, kind.another(problem.gold)):
            working = f"{problem.solution}\n" if problem.solution else ""
            text = working + kind.marked(answer, answer_format)
            pairs.append(Rollout(problem, text, len(text.split()), group=len(pairs) // 2))
    if not pairs:
        return None
    values = []
    for outcome in scorer.score(pairs):
        if not isinstance(outcome, Score):
            return None
        values.append(outcome.value)
    preferred = [right > wrong for right, wrong in zip(values[::2], values[1::2], strict=True)]
    return sum(preferred), len(preferred)
