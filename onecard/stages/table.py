"""The stages that a run can have. A new one is a module of this shape, and a line here."""

from collections.abc import Sequence
from typing import Any, Protocol

from onecard.data.section import Data
from onecard.run.round import Round
from onecard.stages import distill, dpo, grpo, reward_model, rft, sft
from onecard.stages.sections import StageSections
from onecard.stages.training import Training


class Stage(Protocol):
    """What the module of every stage has."""

    def plan_lines(self, sections: StageSections, data: Data) -> list[str]:
        """What it will do, in numbers, for --plan."""

    def check(self, training: Training, tokenizer: Any) -> None:
        """Raise UserError for what TRL itself refuses, and for data that does not fit the model.

        No weights are loaded yet.
        """

    def pilot(self, training: Training) -> None:
        """Raise RunFailed where a few problems show that it cannot learn anything."""

    def run(self, training: Training, one: Round) -> None:
        """Train a round, from its checkpoint where the run was interrupted in it."""


STAGES: dict[str, Stage] = {
    "sft": sft,
    "distill": distill,
    "reward_model": reward_model,
    "rft": rft,
    "dpo": dpo,
    "grpo": grpo,
}


def train_rounds(training: Training, rounds: Sequence[Round]) -> None:
    """One after the other. Where health ends one, there is no further round of its stage.

    Nor is a reward model renewed for one.
    """
    ended = False
    for one in rounds:
        ended = ended and one.number > 1
        if not ended:
            training.ended_early = False
            with training.run.phase(one.stage.upper()):
                STAGES[one.stage].run(training, one)
            ended = training.ended_early
