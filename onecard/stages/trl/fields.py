"""What TRL's GRPOConfig takes, read without importing it: that takes 10 s and torch."""

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

# The losses that a recipe may name. TRL's others need settings or inputs that a run here does not
# have: cispo clamps at epsilon_high itself, luspo wants importance sampling by sequence.
Loss = Literal["grpo", "bnpo", "dr_grpo", "dapo"]

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
