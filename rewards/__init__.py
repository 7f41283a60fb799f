"""Verifiable rewards: what a completion is paid for. Importable without torch, safe on any text a
model can write.
"""

from rewards.answer import AnswerIsNumber, CorrectAnswer
from rewards.base import Reward
from rewards.control import RandomReward
from rewards.custom import Custom
from rewards.format import TagCount, ThinkFormat, ThinkFormatSoft
from rewards.length import CosineLength, Overlong, Repetition, TooShort
from rewards.presets import DeepseekR1, Robust
from rewards.reasoning import LanguageConsistency, LogicalFlow, ReasoningSteps, SelfVerification

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
    "too_short": TooShort,
    "deepseek_r1": DeepseekR1,
    "robust": Robust,
    "custom": Custom,
    "random": RandomReward,
}


def expand(entries: list[Reward]) -> list[Reward]:
    """The rewards that a recipe's entries stand for, presets replaced by their parts."""
    return [part for entry in entries for part in entry.parts()]
