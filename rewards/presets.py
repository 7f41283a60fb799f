"""Named sets of rewards with weights, as tutorials have them. Nobody has shown them to be best."""

from typing import Literal

from pydantic import model_validator

from rewards.base import Reward
from rewards.rules.correct import CorrectAnswer
from rewards.rules.format import ThinkFormat
from rewards.rules.length import TooShort
from rewards.rules.reasoning import LogicalFlow, ReasoningSteps, SelfVerification
from rewards.rules.repetition import Repetition


class Preset(Reward):
    """An entry that is replaced by its parts, their weights multiplied by its own.

    That happens when a recipe is read, so that nothing after it sees a preset.
    """

    @model_validator(mode="after")
    def check_gate(self) -> "Preset":
        if self.gate:
            raise ValueError("gate: a preset is several rewards; list them, and make one the gate")
        return self


class DeepseekR1(Preset):
    """0.60 right answer; beside one, 0.15 steps, 0.15 logical flow, 0.10 self-verification.

    The mix that goes by this name in tutorials. DeepSeek's own (arXiv 2501.12948) is the right
    answer and the think format, for R1 with the share of the target language: correct_answer,
    think_format, language_consistency.
    """

    name: Literal["deepseek_r1"]

    def parts(self) -> list[Reward]:
        return [
            CorrectAnswer(name="correct_answer", weight=0.60 * self.weight),
            ReasoningSteps(name="reasoning_steps", weight=0.15 * self.weight),
            LogicalFlow(name="logical_flow", weight=0.15 * self.weight),
            SelfVerification(name="self_verification", weight=0.10 * self.weight),
        ]


class Robust(Preset):
    """+0.7 right answer, +0.2 format, up to -0.5 for repetition, -0.3 for too short a working."""

    name: Literal["robust"]

    def parts(self) -> list[Reward]:
        return [
            CorrectAnswer(name="correct_answer", weight=0.7 * self.weight),
            ThinkFormat(name="think_format", weight=0.2 * self.weight),
            Repetition(name="repetition", weight=0.5 * self.weight),
            TooShort(name="too_short", weight=0.3 * self.weight),
        ]
