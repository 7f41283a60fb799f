"""The stages that a run can have. A new one is a module of this shape, and a line here."""

from typing import Protocol

from onecard.data.section import Data
from onecard.stages import grpo, sft
from onecard.stages.sections import StageSections
from onecard.stages.training import Training


class Stage(Protocol):
    """What the module of every stage has."""

    def plan_lines(self, sections: StageSections, data: Data) -> list[str]:
        """What it will do, in numbers, for --plan."""

    def check(self, training: Training) -> None:
        """Raise UserError for what TRL itself refuses, before a model is loaded."""

    def pilot(self, training: Training) -> None:
        """Raise RunFailed where a few problems show that it cannot learn anything."""

    def run(self, training: Training) -> None:
        """Train, from its checkpoint where the run was interrupted in it."""


STAGES: dict[str, Stage] = {"sft": sft, "grpo": grpo}
