"""The recipe's values as TRL's configs take them; each is set explicitly.

Unsloth's generated configs have other defaults than TRL's.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from onecard.machine.gpu import find_cards
from onecard.machine.precision import Precision, choose_precision
from onecard.run.round import Round
from onecard.stages.sections.base import StageSection, Supervised
from onecard.stages.sections.grpo import Grpo
from onecard.stages.training import Training
from onecard.types import UserError

if TYPE_CHECKING:
    from trl import GRPOConfig, SFTConfig


# Keys of sections that TRL's configs have under the same names, as far as a section has them.
UNDER_TRLS_NAMES = {
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "optim",
    "max_grad_norm",
}


def grpo_settings(
    grpo: Grpo,
    folder: Path,
    *,
    seed: int,
    reward_weights: list[float],
    vllm: bool,
    cuda: bool,
    precision: Precision,
) -> dict[str, Any]:
    """Every GRPOConfig value of a run. Pure.

    `vllm`: whether the recipe generates with it. `cuda` and `precision` are the machine's.
    """
    stated = grpo.of_trl  # the section uses GRPOConfig's own names
    decided = {
        "output_dir": str(folder),
        "seed": seed,
        "data_seed": seed,
        "reward_weights": reward_weights,
        "save_strategy": "no",  # our Keeper saves
        "ddp_find_unused_parameters": False,  # of several processes: all are used
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_first_step": True,
        # Our journal owns the TensorBoard writer, so that evaluations land in the same log.
        "report_to": "none",
        "disable_tqdm": True,
        "use_vllm": cuda and vllm,
        "vllm_mode": "colocate",
        # Without it Unsloth's trainer does not even measure how far vLLM's log-probabilities are
        # from its own.
        "vllm_importance_sampling_correction": True,
        "top_p": 1.0,
        "top_k": 0,
        "repetition_penalty": 1.0,
        "shuffle_dataset": True,
        "remove_unused_columns": False,
        "torch_empty_cache_steps": None,
        # Without it one loss that is no number makes all later ones none.
        "logging_nan_inf_filter": True,
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
    }
    return stated | decided | machine_settings(cuda, precision) | grpo.extra


def settings_of(
    training: Training,
    one: Round,
    section: StageSection,
    stated: dict[str, Any],
    precision: Precision | None = None,
) -> dict[str, Any]:
    """Every value of a round's config, for all trainers but GRPO's.

    `stated` is what this kind of trainer has besides. `precision`: None for what this machine
    computes in.
    """
    import torch

    folder, seed = training.run.checkpoints(one.label), training.seed_of(one)
    plain = plain_settings(section, folder, seed, training.sections.gradient_checkpointing)
    machine = machine_settings(
        torch.cuda.is_available(), precision or choose_precision(find_cards())
    )
    return plain | stated | machine


def sft_settings(section: Supervised, max_length: int) -> dict[str, Any]:
    """What SFTConfig has besides. Pure.

    `max_length`: of prompt and completion, in tokens.
    """
    return {
        "per_device_train_batch_size": section.rows,
        "lr_scheduler_type": "linear",
        "warmup_steps": section.lr_warmup_steps,
        "optim": "adamw_torch_fused",
        "max_length": max_length,
        "completion_only_loss": True,
        "packing": False,
    }


def plain_settings(
    section: StageSection, folder: Path, seed: int, gradient_checkpointing: bool
) -> dict[str, Any]:
    """What all trainers but GRPO's have in common. Pure."""
    return section.model_dump(include=UNDER_TRLS_NAMES) | {
        "output_dir": str(folder),
        "seed": seed,
        "max_steps": section.max_steps,
        "weight_decay": 0.0,
        "gradient_checkpointing": gradient_checkpointing,
        "save_strategy": "no",  # our Keeper saves
        "ddp_find_unused_parameters": False,  # of several processes: all are used
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
    }


def machine_settings(cuda: bool, precision: Precision) -> dict[str, Any]:
    """What depends on the machine.

    On a card 16-bit autocast; left out, Unsloth would choose that by itself. On a CPU the policy is
    loaded in the precision it trains in, without autocast.
    """
    return {
        "use_cpu": not cuda,
        "dataloader_pin_memory": cuda,
        "bf16": cuda and precision == "bf16",
        "fp16": cuda and precision == "fp16",
    }


def build_grpo_config(training: Training, one: Round) -> "GRPOConfig":
    """TRL's GRPOConfig. Raises UserError for what TRL itself refuses."""
    import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
    import torch
    from trl import GRPOConfig

    from onecard.model.unsloth_private_names import score_in_one_pass

    grpo = training.sections.grpo
    assert grpo is not None
    check_extra_types(grpo.extra, get_type_hints(GRPOConfig))
    settings = grpo_settings(
        grpo,
        training.run.checkpoints(one.label),
        seed=training.seed_of(one),
        reward_weights=training.scorer.weights,
        vllm=training.model.fast_inference,
        cuda=torch.cuda.is_available(),
        precision=choose_precision(find_cards()),
    )
    try:
        config = GRPOConfig(**settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"grpo: TRL refuses these settings: {error}") from None
    score_in_one_pass(config)
    return config


def check_extra_types(extra: dict[str, Any], types: dict[str, Any]) -> None:
    """Raise UserError where a value of `grpo.extra` is not of its field's type."""
    for name, value in extra.items():
        try:
            TypeAdapter(types[name]).validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise UserError(f"grpo.extra.{name}: {reason}, got {value!r}") from None


def build_sft_config(
    training: Training, one: Round, section: Supervised, whole: bool
) -> "SFTConfig":
    """TRL's SFTConfig. `whole`: all weights are trained, in 32 bit, also on a card."""
    import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
    from trl import SFTConfig

    stated = sft_settings(section, training.model.max_seq_length)
    return SFTConfig(**settings_of(training, one, section, stated, "fp32" if whole else None))


def draws_from_all(config: Any) -> bool:
    """Whether a GRPOConfig draws tokens from the whole vocabulary, and asks for nothing else."""
    whole = (config.top_p, config.top_k, config.min_p, config.repetition_penalty)
    return whole == (1.0, 0, None, 1.0) and not config.generation_kwargs
