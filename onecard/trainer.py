"""TRL's trainers, built from a recipe. The only place that imports trl (after unsloth, which
patches it).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import onecard.policy as policy  # isort: skip  (imports unsloth, which must come before trl)
import torch
from datasets import Dataset
from pydantic import TypeAdapter, ValidationError
from torch.utils.data import Sampler
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from onecard.checkpoint import ADAPTER, Checkpoint
from onecard.data.prompts import prompt_for, target_for
from onecard.grading import BatchScorer, opens_think
from onecard.grpo import grpo_settings
from onecard.machine.gpu_use import CardUse
from onecard.recipe import Recipe
from onecard.step_time import StepTime
from onecard.training_state import load_adapter, put_random_states, put_state, read_tree
from onecard.types import Sample, UserError
from onecard.vllm_generation import seed_requests


def build_config(recipe: Recipe, folder: Path) -> GRPOConfig:
    """The recipe as TRL's GRPOConfig; checkpoints go to `folder`. Raises UserError for what TRL
    itself refuses.
    """
    types = get_type_hints(GRPOConfig)
    try:
        for name, value in recipe.grpo.extra.items():
            TypeAdapter(types[name]).validate_python(value)
        cuda = torch.cuda.is_available()
        config = GRPOConfig(
            **grpo_settings(recipe, folder, cuda, bf16=cuda and torch.cuda.is_bf16_supported())
        )
    except ValidationError as error:
        raise UserError(f"grpo.extra.{name}: {error.errors()[0]['msg']}, got {value!r}") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"grpo: TRL refuses these settings: {error}") from None
    if hasattr(config, "unsloth_grpo_mini_batch"):
        config.unsloth_grpo_mini_batch = (
            1  # that many passes for what it is given to score: see in_parts
        )
    return config


class ResumableTrainer(GRPOTrainer):
    """TRL's trainer, and where transformers would unpickle a checkpoint, ours is read. Our Keeper
    writes them.
    """

    scorer: BatchScorer
    step_time: StepTime
    state_read: dict[str, Any]

    def train_from(self, checkpoint: Checkpoint | None) -> int:
        """Train to the end, from a checkpoint's step on where there is one; return the last step.

        After the last step there is but the adapter to put back: transformers would train one more.
        """
        if checkpoint and checkpoint.last:
            load_adapter(self.model, checkpoint.folder / ADAPTER)
            return checkpoint.step
        self.train(resume_from_checkpoint=str(checkpoint.folder) if checkpoint else None)
        return int(self.state.global_step)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_adapter(self.model, Path(resume_from_checkpoint) / ADAPTER)
        self.state_read = read_tree(Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            put_state(self, self.state_read)

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Done in put_state."""

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            put_random_states(self.state_read["random"])

    def _get_train_sampler(self, dataset: Any = None) -> "PromptOrder":
        return PromptOrder(super()._get_train_sampler(dataset), self.args.seed)


class PromptOrder(Sampler[int]):
    """TRL's order of prompts, shuffled anew for each epoch by seed and epoch alone, so that it can
    be begun at any epoch.
    """

    def __init__(self, repeated: Any, seed: int) -> None:
        self.repeated, self.seed, self.epoch = repeated, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.repeated.shuffle:
            self.repeated.generator.manual_seed(self.seed + self.epoch)
        return iter(self.repeated)

    def __len__(self) -> int:
        return len(self.repeated)


def build_trainer(
    recipe: Recipe,
    config: GRPOConfig,
    policy: policy.Policy,
    samples: list[Sample],
    callbacks: list[TrainerCallback],
    card: CardUse | None = None,
) -> ResumableTrainer:
    """GRPO on `samples`, watched by `callbacks`; `card` learns which phase takes what."""
    # not so where a recipe allows to do without it
    config.use_vllm = policy.adapter_folder is not None
    scorer = BatchScorer(recipe, samples, policy.end_tokens, opens_think(recipe, policy.tokenizer))
    trainer = ResumableTrainer(
        model=policy.model,
        processing_class=policy.tokenizer,
        reward_funcs=scorer.reward_functions(),
        args=config,
        train_dataset=Dataset.from_list(
            [
                {"prompt": prompt_for(s, recipe.data.system_prompt), "sample_id": s.id}
                for s in samples
            ]
        ),
        callbacks=callbacks,
    )
    if hasattr(config, "unsloth_grpo_mini_batch"):
        trainer._get_per_token_logps_and_entropies = in_parts(
            trainer._get_per_token_logps_and_entropies, config.per_device_train_batch_size
        )
    trainer.step_time = StepTime(trainer, card)
    trainer.scorer = scorer
    if config.use_vllm:
        # Unsloth's own hand-over writes the adapter's config to the working directory.
        trainer.vllm_generation._unsloth_load_lora = lambda *_, **__: policy.live_adapter()
        seed_requests(policy.model.vllm_engine, recipe.seed, lambda: trainer.state.global_step)
    for callback in callbacks:
        callback.trainer = trainer  # TRL does not hand it to them
    trainer.remove_callback(PrinterCallback)  # our progress display says it better
    return trainer


def in_parts(score: Callable[..., Any], rows: int) -> Callable[..., Any]:
    """Unsloth's scoring of completions before a step, `rows` at a time: as many as are trained at a
    time, and packed as they are then.

    By itself it scores as many at once as it expects the free memory to hold, and does not count
    what the MLP takes (docs/memory.md).
    """

    def scored(
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        *arguments: Any,
        **named: Any,
    ) -> Any:
        if len(input_ids) <= rows:
            return score(model, input_ids, attention_mask, *arguments, **named)
        parts = zip(input_ids.split(rows), attention_mask.split(rows), strict=True)
        found = [score(model, ids, mask, *arguments, **named)[0] for ids, mask in parts]
        width = max(
            logps.size(1) for logps in found
        )  # a part with shorter padding before its prompts is narrower
        return (
            torch.cat(
                [torch.nn.functional.pad(logps, (width - logps.size(1), 0)) for logps in found]
            ),
            None,
            None,
        )

    return scored


def build_warmup_trainer(
    recipe: Recipe,
    policy: policy.Policy,
    samples: list[Sample],
    folder: Path,
    callbacks: list[TrainerCallback],
) -> SFTTrainer:
    """Supervised training on the samples' own solutions; the loss is on the completion alone."""
    assert recipe.warmup is not None
    cuda = torch.cuda.is_available()
    rows = [
        {"prompt": prompt_for(s, recipe.data.system_prompt), "completion": target_for(s, recipe)}
        for s in samples
    ]
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
