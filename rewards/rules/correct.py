"""Is the declared answer right? Is it a number at all?"""

from typing import Literal

from onecard.types import Rollout, Score
from rewards.answer.number import read_number
from rewards.base import Rule


class CorrectAnswer(Rule):
    """Pays 1 for the right declared answer and 0 for all else; the working is not looked at.

    Gamed by guessing where few answers are possible, or by declaring several. Guarded by reading
    one declared answer and never the working; two different answers are wrong.
    """

    name: Literal["correct_answer"]

    def score(self, rollout: Rollout) -> Score | None:
        return rollout.graded


class AnswerIsNumber(Rule):
    """Pays 1 when the declared answer is one number, right or wrong: the notebooks' "int" reward.

    Gamed by declaring any number; so keep its weight far below correct_answer's.
    """

    name: Literal["answer_is_number"]

    def score(self, rollout: Rollout) -> Score:
        assert rollout.graded is not None
        extracted = rollout.graded.extracted
        is_number = extracted is not None and read_number(extracted) is not None
        return Score(float(is_number), extracted=extracted)
