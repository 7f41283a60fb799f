"""Fine-tuning on texts, by TRL's SFTTrainer."""

from typing import Any

import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
from datasets import Dataset

from onecard.model.policy import Policy
from onecard.run.round import Round
from onecard.stages.sections.base import Supervised
from onecard.stages.training import Training
from onecard.stages.trl.config import build_sft_config
from onecard.stages.trl.plain import PlainSteps, train_round
from onecard.stages.trl.trainers import OnecardSftTrainer


def fine_tune(
    training: Training,
    one: Round,
    section: Supervised,
    policy: Policy,
    rows: list[dict[str, Any]],
) -> None:
    """A round on `rows`, each with a prompt and a completion; the loss is on the completion."""

    def build(steps: PlainSteps) -> OnecardSftTrainer:
        return OnecardSftTrainer(
            model=policy.model,
            processing_class=policy.tokenizer,
            args=build_sft_config(training, one, section, whole=not policy.has_adapter),
            train_dataset=Dataset.from_list(rows),
            callbacks=[steps],
        )

    train_round(training, one, policy, build)
