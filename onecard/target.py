"""What a command line names: a run folder, an adapter, a model folder or a hub id."""

from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

from onecard.files.hub import check_available
from onecard.model.weights import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    Weights,
    check_adapter,
    named_base,
)
from onecard.recipe.file import load_recipe
from onecard.recipe.schema import Recipe
from onecard.run.folder import ADAPTER, EVALUATIONS, RANDOM_MODEL, RECIPE, SFT_MODEL
from onecard.types import UserError


@dataclass(frozen=True)
class Target:
    """`recipe` is the run's, where it is one; `folder` is where evaluations of it go."""

    weights: Weights
    recipe: Recipe | None
    folder: Path


def find_target(name: str, adapter: str | None, base_only: bool) -> Target:
    """What MODEL_OR_RUN names, with `adapter` put on it, or without the adapter it has.

    Raises UserError, before any heavy import.
    """
    folder = Path(name)
    if folder.parts[:1] == ("runs",) and not folder.is_dir():
        raise unknown_run(name)
    given = Path(adapter) if adapter else None
    if (folder / RECIPE).is_file():
        found = find_run(folder, given, base_only)
    elif (folder / ADAPTER_CONFIG).is_file():
        if adapter:
            raise UserError(
                f"--adapter: {folder} is an adapter already; name its base model instead"
            )
        found = Target(Weights(named_base(folder), folder), None, evaluations_of(name))
    else:
        found = Target(Weights(name, given), None, evaluations_of(name))
    if base_only:
        found = replace(found, weights=replace(found.weights, adapter=None))
    check_available(found.weights.base, "model", key="model or run")
    if found.weights.adapter:
        check_adapter(found.weights.adapter, found.weights.base)
    return found


def unknown_run(name: str) -> UserError:
    """What to raise for a run that is not there: it says which ones are."""
    there = sorted(file.parent.name for file in Path("runs").glob(f"*/{RECIPE}"))
    return UserError(f"there is no run {name}; there are: {', '.join(there) or 'none'}")


def find_run(folder: Path, adapter: Path | None, base_only: bool) -> Target:
    """A run of ours, with its own adapter or another one. Raises UserError if it has none yet."""
    recipe = load_recipe(folder / RECIPE)
    own = folder / ADAPTER
    if not base_only and adapter is None and not (own / ADAPTER_WEIGHTS).is_file():
        raise UserError(
            f"{folder} has no adapter/{ADAPTER_WEIGHTS}: the run did not finish. `python -m eval"
            f" {quote(str(folder))} --base` evaluates the model that it started from"
        )
    weights = Weights(
        base_of(folder, recipe),
        adapter or own,
        trusted=recipe.model.trust_remote_code,
        as_trained=True,
        chat=recipe.model.chat,
    )
    return Target(weights, recipe, folder / EVALUATIONS)


def base_of(run: Path, recipe: Recipe) -> str:
    """What a run's adapter was trained on.

    It is what SFT of all weights left, the model that was made for the run, or the recipe's.
    """
    trained = recipe.sft is not None and recipe.sft.trains == "all_weights"
    if not trained and not recipe.model.made_here:
        return recipe.model.name
    own = run / (SFT_MODEL if trained else RANDOM_MODEL)
    if not own.is_dir():
        raise UserError(
            f"{run} has no {own.name}/: the run ended before its model was ready, so there is"
            " nothing to evaluate"
        )
    return str(own)


def evaluations_of(name: str) -> Path:
    """runs/eval-Qwen-Qwen2.5-1.5B-Instruct for a model that is no run of ours."""
    parts = [part for part in Path(name).parts if part not in ("/", "..", ".")]
    return Path("runs") / "-".join(["eval", *parts])
