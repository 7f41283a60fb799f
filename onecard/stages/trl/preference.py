"""Preference optimization on pairs, by TRL's DPOTrainer."""

from typing import Any

import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
from datasets import Dataset
from trl import DPOConfig

from onecard.model.adapter import forget_reference
from onecard.model.policy import Policy
from onecard.run.round import Round
from onecard.stages.sections.dpo import Dpo
from onecard.stages.training import Training
from onecard.stages.trl.config import settings_of
from onecard.stages.trl.plain import PlainSteps, train_round
from onecard.stages.trl.trainers import OnecardDpoTrainer


def prefer(
    training: Training, one: Round, section: Dpo, policy: Policy, rows: list[dict[str, Any]]
) -> None:
    """A round on `rows`, each with a prompt, and what is chosen and rejected after it.

    The reference is the policy as the round begins with it: TRL copies its adapter.
    """

    def build(steps: PlainSteps) -> OnecardDpoTrainer:
        forget_reference(policy.model)
        stated = dpo_settings(section, training.model.max_seq_length)
        return OnecardDpoTrainer(
            model=policy.model,
            processing_class=policy.tokenizer,
            args=DPOConfig(**settings_of(training, one, section, stated)),
            train_dataset=Dataset.from_list(rows),
            callbacks=[steps],
        )

    train_round(training, one, policy, build)


def dpo_settings(section: Dpo, max_length: int) -> dict[str, Any]:
    """What DPOConfig alone has. Pure.

    `max_length`: of prompt and completion, in tokens.
    """
    weight = section.sft_weight
    return {
        "beta": section.beta,
        "loss_type": [section.loss_type, "sft"] if weight else [section.loss_type],
        "loss_weights": [1.0, weight] if weight else None,
        "max_length": max_length,
    }
