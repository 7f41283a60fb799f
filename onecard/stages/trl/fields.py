"""What TRL's GRPOConfig takes, read without importing it: that takes 10 s and torch."""

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

EVALUATION = "`eval:` says what is asked, before, during and after training"
HUB = "`python -m onecard.export` sends a finished run to the hub"
MACHINE = "the machine decides"
SAVING = "write `save:`"
LOGGING = "TensorBoard is always on, and every step is logged"
# What the run itself decides, whatever the recipe says.
SET_BY_ONECARD = {
    **dict.fromkeys(
        (
            "do_eval",
            "do_predict",
            "eval_strategy",
            "eval_steps",
            "eval_delay",
            "eval_on_start",
            "eval_accumulation_steps",
            "eval_do_concat_batches",
            "eval_use_gather_object",
            "batch_eval_metrics",
            "per_device_eval_batch_size",
            "num_generations_eval",
            "prediction_loss_only",
            "load_best_model_at_end",
            "metric_for_best_model",
            "greater_is_better",
        ),
        EVALUATION,
    ),
    **dict.fromkeys(
        (
            "push_to_hub",
            "hub_always_push",
            "hub_model_id",
            "hub_private_repo",
            "hub_revision",
            "hub_strategy",
            "hub_token",
            "log_completions_hub_repo",
        ),
        HUB,
    ),
    **dict.fromkeys(
        (
            "accelerator_config",
            "bf16",
            "bf16_full_eval",
            "deepspeed",
            "ds3_gather_for_generation",
            "fp16",
            "fp16_full_eval",
            "fsdp",
            "fsdp_config",
            "local_rank",
            "parallelism_config",
        ),
        MACHINE,
    ),
    **dict.fromkeys(
        (
            "enable_jit_checkpoint",
            "ignore_data_skip",
            "restore_callback_states_from_checkpoint",
            "save_on_each_node",
            "save_only_model",
        ),
        SAVING,
    ),
    **dict.fromkeys(
        (
            "disable_tqdm",
            "log_completions",
            "log_unique_prompts",
            "logging_first_step",
            "num_completions_to_print",
            "project",
            "run_name",
            "trackio_bucket_id",
            "trackio_space_id",
            "trackio_static_space_id",
        ),
        LOGGING,
    ),
    "auto_find_batch_size": "--fit says which batch fits; the batch decides what a step is",
    "chat_template_kwargs": "write `model.chat_template_kwargs:`, for evaluation too",
    "do_train": "training is what a run does",
    "generation_batch_size": "a step generates its own completions, neither more nor fewer",
    "model_init_kwargs": "write `model:`",
    "num_train_epochs": "write `grpo.max_steps:`",
    "ref_model_mixup_alpha": "with an adapter the reference is the model without it",
    "ref_model_sync_steps": "with an adapter the reference is the model without it",
    "steps_per_generation": "a step generates its own completions, neither more nor fewer",
    "sync_ref_model": "with an adapter the reference is the model without it",
    "trust_remote_code": "write `model.trust_remote_code:`",
    "output_dir": "the run folder is --name",
    "report_to": "TensorBoard is always on",
    "resume_from_checkpoint": "not a recipe's matter",
    "logging_steps": "every step is logged",
    "logging_strategy": "every step is logged",
    "save_strategy": "write `save.every_steps:`",
    "use_vllm": "write `model.fast_inference:`",
    "use_cpu": "the machine decides",
    "remove_unused_columns": "the rewards need the columns",
    "data_seed": "write `seed:` at the top of the recipe",
    "seed": "write `seed:` at the top of the recipe",
    "save_steps": "write `save.every_steps:`",
    "save_total_limit": "write `save.keep:`",
    "reward_weights": "write each reward's `weight:`",
    "vllm_importance_sampling_correction": "sampling drift is measured with it",
    "vllm_importance_sampling_cap": "write `grpo.vllm_importance_sampling_clip_max:`",
    "use_adaptive_entropy": "its state would be lost where a run is resumed",
}


@cache
def trl_fields() -> frozenset[str]:
    """The field names of TRL's GRPOConfig, read from the installed sources."""
    trl, transformers = package_folder("trl"), package_folder("transformers")
    files = (
        trl / "trainer/grpo_config.py",
        trl / "trainer/base_config.py",
        transformers / "training_args.py",
    )
    names: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ClassDef):
                continue
            if node.name in ("GRPOConfig", "_BaseConfig", "TrainingArguments"):
                names |= fields_of(node)
    return frozenset(names)


def fields_of(node: ast.ClassDef) -> set[str]:
    """The annotated names of a class's body."""
    names = set()
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.add(statement.target.id)
    return names


def package_folder(name: str) -> Path:
    """Where an installed package's files are, without importing it."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])
