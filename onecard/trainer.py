"""TRL's trainers, built from a recipe. The only place that imports trl (after unsloth, which patches it)."""

from pathlib import Path
from typing import get_type_hints

import onecard.policy as policy  # isort: skip  (imports unsloth, which must come before trl)
import torch
from datasets import Dataset
from pydantic import TypeAdapter, ValidationError
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from onecard.data.samples import prompt_for, target_for
from onecard.grading import Grader, opens_think
from onecard.grpo import grpo_settings
from onecard.recipe import Recipe
from onecard.step_time import StepTime
from onecard.types import Sample, UserError


def build_config(recipe: Recipe, folder: Path) -> GRPOConfig:
    """The recipe as TRL's GRPOConfig; checkpoints go to `folder`. Raises UserError for what TRL itself refuses."""
    types = get_type_hints(GRPOConfig)
    try:
        for name, value in recipe.grpo.extra.items():
            TypeAdapter(types[name]).validate_python(value)
        cuda = torch.cuda.is_available()
        return GRPOConfig(**grpo_settings(recipe, folder, cuda, bf16=cuda and torch.cuda.is_bf16_supported()))
    except ValidationError as error:
        raise UserError(f"grpo.extra.{name}: {error.errors()[0]['msg']}, got {value!r}") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"grpo: TRL refuses these settings: {error}") from None


def build_trainer(
    recipe: Recipe, config: GRPOConfig, policy: policy.Policy, samples: list[Sample], callbacks: list[TrainerCallback]
) -> GRPOTrainer:
    """GRPO on `samples`, watched by `callbacks`."""
    config.use_vllm = policy.adapter_folder is not None  # not so where a recipe allows to do without it
    grader = Grader(recipe, samples, policy.end_tokens, opens_think(recipe, policy.tokenizer))
    trainer = GRPOTrainer(
        model=policy.model,
        processing_class=policy.tokenizer,
        reward_funcs=grader.reward_functions(),
        args=config,
        train_dataset=Dataset.from_list([{"prompt": prompt_for(s, recipe.data.system_prompt), "sample_id": s.id} for s in samples]),
        callbacks=callbacks,
    )
    trainer.step_time = StepTime(trainer)
    for callback in callbacks:
        callback.trainer = trainer  # TRL does not hand it to them
    trainer.remove_callback(PrinterCallback)  # our progress display says it better
    return trainer


def build_warmup_trainer(
    recipe: Recipe, policy: policy.Policy, samples: list[Sample], folder: Path, callbacks: list[TrainerCallback]
) -> SFTTrainer:
    """Supervised training on the samples' own solutions; the loss is on the completion alone."""
    assert recipe.warmup is not None
    cuda = torch.cuda.is_available()
    rows = [{"prompt": prompt_for(s, recipe.data.system_prompt), "completion": target_for(s, recipe)} for s in samples]
    trainer = SFTTrainer(
        model=policy.model,
        processing_class=policy.tokenizer,
        args=SFTConfig(
            output_dir=str(folder),
            seed=recipe.seed,
            max_steps=recipe.warmup.max_steps,
            per_device_train_batch_size=recipe.warmup.batch_size,
            learning_rate=recipe.warmup.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=recipe.warmup.lr_warmup_steps,
            optim="adamw_torch_fused",
            weight_decay=0.0,
            max_length=recipe.model.max_seq_length,
            completion_only_loss=True,
            packing=False,
            gradient_checkpointing=recipe.grpo.gradient_checkpointing,
            bf16=False,
            fp16=False,
            use_cpu=not cuda,
            dataloader_pin_memory=cuda,
            save_strategy="no",
            logging_steps=10,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
