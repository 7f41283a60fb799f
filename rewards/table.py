"""Every reward that a recipe can name."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from rewards.base import Reward
from rewards.custom import Custom
from rewards.judges.code_tests import CodeTests
from rewards.judges.http import Http
from rewards.judges.judge import Judge
from rewards.judges.online import LearningRewardModel
from rewards.presets import DeepseekR1, Robust
from rewards.rules.correct import AnswerIsNumber, CorrectAnswer
from rewards.rules.equations import TrueEquations
from rewards.rules.format import TagCount, ThinkFormat, ThinkFormatSoft
from rewards.rules.length import CosineLength, Overlong, TooShort
from rewards.rules.random_control import RandomReward
from rewards.rules.reasoning import (
    LanguageConsistency,
    LogicalFlow,
    ReasoningSteps,
    SelfVerification,
)
from rewards.rules.repetition import Repetition

REWARDS: dict[str, type[Reward]] = {
    "correct_answer": CorrectAnswer,
    "answer_is_number": AnswerIsNumber,
    "think_format": ThinkFormat,
    "think_format_soft": ThinkFormatSoft,
    "tag_count": TagCount,
    "reasoning_steps": ReasoningSteps,
    "logical_flow": LogicalFlow,
    "self_verification": SelfVerification,
    "language_consistency": LanguageConsistency,
    "overlong": Overlong,
    "cosine_length": CosineLength,
    "repetition": Repetition,
    "true_equations": TrueEquations,
    "too_short": TooShort,
    "deepseek_r1": DeepseekR1,
    "robust": Robust,
    "code_tests": CodeTests,
    "http": Http,
    "judge": Judge,
    "reward_model": LearningRewardModel,
    "custom": Custom,
    "random": RandomReward,
}


def expanded(entries: list[Reward]) -> list[Reward]:
    """The rewards that entries of a recipe stand for: presets are replaced by their parts."""
    return [part for entry in entries for part in entry.parts()]


if TYPE_CHECKING:
    RewardList = list[Reward]
else:  # an entry is checked by the schema of the reward that it names
    AnyReward = Annotated[reduce(or_, REWARDS.values()), Field(discriminator="name")]
    RewardList = Annotated[list[AnyReward], AfterValidator(expanded)]
