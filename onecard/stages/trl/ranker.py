"""Trains a model with a head for one score: on pairs by TRL's RewardTrainer, or on rows."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
import torch
from datasets import Dataset
from peft import LoraConfig, TaskType, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainingArguments
from trl import RewardConfig

from onecard.files.atomic import atomic_folder
from onecard.machine.gpu import find_cards
from onecard.machine.precision import choose_precision
from onecard.model.policy import Policy
from onecard.model.scoring.base import padded
from onecard.model.scoring.sequence import whole
from onecard.model.weights import make_readable
from onecard.run.process import is_first
from onecard.run.round import Round
from onecard.stages.labelled import Labelled, pairs_to_rank
from onecard.stages.sections.reward_model import RewardModelStage
from onecard.stages.training import Training
from onecard.stages.trl.config import settings_of
from onecard.stages.trl.plain import PlainSteps, train_round
from onecard.stages.trl.trainers import OnecardRewardTrainer, OnecardRowTrainer


def train_ranker(
    training: Training,
    one: Round,
    section: RewardModelStage,
    labelled: Sequence[Labelled],
    former: Path | None = None,
) -> None:
    """Train a model on labelled completions, and leave it in the run folder.

    `former`: the reward model that it goes on from.
    """
    base = str(former) if former else section.base or training.load_policy().base
    torch.manual_seed(training.seed)  # a new head is random
    model, tokenizer = load_with_head(base, training.model.trust_remote_code)
    if section.trains == "adapter":
        config = LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=training.lora.rank,
            lora_alpha=training.lora.alpha,
            lora_dropout=training.lora.dropout,
            target_modules=training.lora.target_modules,
        )
        model = get_peft_model(model, config)
    most = training.model.max_seq_length
    ranker = Policy(model, tokenizer, base, most)
    stated = {
        "optim": "adamw_torch_fused",
        "gradient_checkpointing": section.gradient_checkpointing,  # it is not the policy
    }
    settings = settings_of(training, one, section, stated, "fp32")

    def build(steps: PlainSteps) -> Any:
        if section.learns == "from_rows":
            return OnecardRowTrainer(
                model=model,
                args=TrainingArguments(**settings, remove_unused_columns=False),
                train_dataset=Dataset.from_list(rows_of(tokenizer, labelled, most)),
                data_collator=partial(collate, padding=tokenizer.pad_token_id),
                callbacks=[steps],
            )
        return OnecardRewardTrainer(
            model=model,
            processing_class=tokenizer,
            args=RewardConfig(**settings, max_length=most),
            train_dataset=Dataset.from_list(pairs_of(tokenizer, labelled)),
            callbacks=[steps],
        )

    train_round(training, one, ranker, build)
    if is_first():
        trained = model.merge_and_unload() if section.trains == "adapter" else model
        with atomic_folder(training.run.reward_model_after(one.label)) as unfinished:
            trained.to(getattr(torch, kept_as())).save_pretrained(unfinished)
            tokenizer.save_pretrained(unfinished)
            make_readable(unfinished)


def kept_as() -> str:
    """A card has no room for 32 bit."""
    return "bfloat16" if choose_precision(find_cards()) != "fp32" else "float32"


def load_with_head(base: str, trusted: bool) -> tuple[Any, Any]:
    """A model in 32 bit with a new head for one score, and its tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=trusted)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=1, dtype=torch.float32, trust_remote_code=trusted
    )
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def rows_of(tokenizer: Any, labelled: Sequence[Labelled], most: int) -> list[dict[str, Any]]:
    """Completions with their labels; those of more than `most` tokens are left out."""
    rows = []
    for one in labelled:
        ids = whole(tokenizer, one.asked)
        if len(ids) <= most:
            rows.append({"input_ids": ids, "labels": float(one.right)})
    return rows


def collate(rows: list[dict[str, Any]], padding: int) -> dict[str, torch.Tensor]:
    """(B, T) tokens and mask, padded on the right, and (B,) labels."""
    ids, mask = padded([row["input_ids"] for row in rows], padding)
    labels = torch.tensor([row["labels"] for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def pairs_of(tokenizer: Any, labelled: Sequence[Labelled]) -> list[dict[str, Any]]:
    """In tokens, so that training reads what scoring reads. TRL leaves out what is too long."""
    rows = []
    for right, wrong in pairs_to_rank(labelled):
        chosen, rejected = (whole(tokenizer, side.asked) for side in (right, wrong))
        rows.append({"chosen_ids": chosen, "rejected_ids": rejected})
    return rows
