"""What is evaluated: a run folder, an adapter, a model folder or a hub id, as a base and perhaps an
adapter on it.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onecard.files.hub import check_available
from onecard.recipe import Recipe
from onecard.recipe_file import load_recipe
from onecard.types import UserError
from onecard.weights import identity, read_base

ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Target:
    """`recipe` is the run's, where it is one; `folder` is where evaluations of it go."""

    base: str
    adapter: Path | None
    recipe: Recipe | None
    folder: Path

    @property
    def trusted(self) -> bool:
        """Whether Python files that the model brings along may be run: as the run's recipe says,
        and never for another model.
        """
        return self.recipe is not None and self.recipe.model.trust_remote_code

    def facts(self) -> dict[str, Any]:
        return {
            "base": identity(self.base),
            "adapter": identity(str(self.adapter)) if self.adapter else None,
        }


def find_target(name: str, adapter: str | None, base_only: bool) -> Target:
    """What MODEL_OR_RUN names, with `adapter` put on it, or without the adapter it has. Raises
    UserError, before any heavy import.
    """
    folder = Path(name)
    if folder.parts[:1] == ("runs",) and not folder.is_dir():
        there = sorted(file.parent.name for file in Path("runs").glob("*/recipe.resolved.yaml"))
        raise UserError(f"there is no run {name}; there are: {', '.join(there) or 'none'}")
    if (folder / "recipe.resolved.yaml").is_file():
        recipe = load_recipe(folder / "recipe.resolved.yaml")
        base = base_of(folder, recipe)
        found = Target(
            base, Path(adapter) if adapter else folder / "adapter", recipe, folder / "eval"
        )
        if (
            not base_only
            and adapter is None
            and not (folder / "adapter" / ADAPTER_WEIGHTS).is_file()
        ):
            raise UserError(
                f"{folder} has no adapter/{ADAPTER_WEIGHTS}: the run did not finish. `python -m"
                f" eval {name} --base` evaluates the model that it started from"
            )
    elif (folder / "adapter_config.json").is_file():
        if adapter:
            raise UserError(
                f"--adapter: {folder} is an adapter already; name its base model instead"
            )
        found = Target(named_base(folder), folder, None, evaluations_of(name))
    else:
        found = Target(name, Path(adapter) if adapter else None, None, evaluations_of(name))
    if base_only:
        found = Target(found.base, None, found.recipe, found.folder)
    check_available(found.base, "model", key="model or run")
    if found.adapter:
        check_adapter(found.adapter, found.base)
    return found


def base_of(run: Path, recipe: Recipe) -> str:
    """What a run's adapter was trained on: what a warm-up of all weights left, the model made for
    the run, or the recipe's.
    """
    warmed_up = recipe.warmup is not None and recipe.warmup.trains == "all_weights"
    if not warmed_up and not recipe.model.made_here:
        return recipe.model.name
    own = run / ("base-model" if warmed_up else "random-model")
    if not own.is_dir():
        raise UserError(
            f"{run} has no {own.name}/: the run ended before its model was ready, so there is"
            " nothing to evaluate"
        )
    return str(own)


def evaluations_of(name: str) -> Path:
    """runs/eval-Qwen-Qwen2.5-1.5B-Instruct for a model that is no run of ours."""
    return Path("runs") / "-".join(
        ["eval", *(part for part in Path(name).parts if part not in ("/", "..", "."))]
    )


def named_base(adapter: Path) -> str:
    """The base model that an adapter's config names."""
    try:
        base = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))[
            "base_model_name_or_path"
        ]
    except (OSError, ValueError, KeyError, TypeError):
        base = None
    if not base:
        raise UserError(
            f"{adapter}/adapter_config.json names no base model (base_model_name_or_path), so it is"
            " not a LoRA adapter"
        )
    return str(base)


def check_adapter(adapter: Path, base: str) -> None:
    """Raise UserError unless the adapter is there and was trained on this base.

    By the hash of the base's weights that was noted when it was saved, if there is one on both
    sides; else by the names alone.
    """
    if not (adapter / ADAPTER_WEIGHTS).is_file() or not (adapter / "adapter_config.json").is_file():
        raise UserError(
            f"{adapter} has no {ADAPTER_WEIGHTS} and adapter_config.json, so it is not an adapter"
        )
    noted, here = (
        read_base(adapter) or {"name": named_base(adapter), "sha256": None},
        identity(base),
    )
    if noted["sha256"] and here["sha256"]:
        if noted["sha256"] != here["sha256"]:
            raise UserError(
                f"{adapter} was trained on another base model: on {noted['name']}, and this is"
                f" {base} with other weights"
            )
    elif plain_name(noted["name"]) != plain_name(base):
        raise UserError(
            f"{adapter} was trained on another base model by its name: on {noted['name']}, and this"
            f" is {base}. If they are the same, write this one's name into the adapter's"
            " adapter_config.json as base_model_name_or_path"
        )


def plain_name(model: str) -> str:
    """A model's name without its owner and without what quantized copies append: those are the same
    model.
    """
    return re.sub(r"(-unsloth)?-bnb-4bit$", "", Path(model).name.lower())
