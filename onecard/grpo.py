"""The recipe's values as TRL's GRPOConfig takes them. Pure: this runs before torch or trl are
imported.
"""

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewards import expand

if TYPE_CHECKING:
    from onecard.recipe import Recipe

# What the run itself decides, whatever the recipe says.
SET_BY_ONECARD = {
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
    "use_adaptive_entropy": "its state would be lost where a run is resumed",
}


def grpo_settings(recipe: "Recipe", folder: Path, cuda: bool, bf16: bool = False) -> dict[str, Any]:
    """Every GRPOConfig value of a run, each set explicitly: Unsloth's generated GRPOConfig has
    other defaults than TRL's.

    `cuda` chooses what depends on the machine: vLLM generation, if the recipe wants it, where the
    tensors live, and on a card 16-bit autocast, bf16 where the card has it. Left out, Unsloth would
    choose that by itself.
    """
    grpo = recipe.grpo
    stated = grpo.model_dump(exclude={"extra"})  # the section uses GRPOConfig's own names
    return (
        stated
        | {
            "output_dir": str(folder),
            "seed": recipe.seed,
            "data_seed": recipe.seed,
            "reward_weights": [reward.weight for reward in expand(recipe.rewards)],
            "save_strategy": "no",  # our Keeper saves
            "logging_strategy": "steps",
            "logging_steps": 1,
            "logging_first_step": True,
            # our callback owns the TensorBoard writer, so that evaluations land in the same log
            "report_to": "none",
            "disable_tqdm": True,
            "use_vllm": cuda and recipe.model.fast_inference,
            "use_cpu": not cuda,
            "bf16": (
                cuda
                # on a CPU the policy is loaded in the precision it trains in, without autocast
                and bf16
            ),
            "fp16": cuda and not bf16,
            "vllm_mode": "colocate",
            # Without it Unsloth's trainer does not even measure how far vLLM's log-probabilities
            # are from its own.
            "vllm_importance_sampling_correction": True,
            "top_p": 1.0,
            "top_k": 0,
            "repetition_penalty": 1.0,
            "shuffle_dataset": True,
            "remove_unused_columns": False,
            "dataloader_pin_memory": cuda,
            "importance_sampling_level": "token",
            "torch_empty_cache_steps": None,
            # without it one loss that is no number makes all later ones none
            "logging_nan_inf_filter": True,
            "adam_beta1": 0.9,
            "adam_beta2": 0.999,
            "adam_epsilon": 1e-8,
        }
        | grpo.extra
    )


@cache
def trl_fields() -> frozenset[str]:
    """The field names of TRL's GRPOConfig, read from the installed sources: importing them takes 10
    s and torch.
    """
    trl, transformers = package_folder("trl"), package_folder("transformers")
    names = set()
    for file in (
        trl / "trainer/grpo_config.py",
        trl / "trainer/base_config.py",
        transformers / "training_args.py",
    ):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name in (
                "GRPOConfig",
                "_BaseConfig",
                "TrainingArguments",
            ):
                names |= {
                    s.target.id
                    for s in node.body
                    if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)
                }
    return frozenset(names)


def package_folder(name: str) -> Path:
    """Where an installed package's files are, without importing it."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])
