"""A run of Onecard as the benches build it: what train.py fills, without a run's two ends."""

from collections.abc import Sequence
from pathlib import Path

from onecard.console.display import Display
from onecard.console.stopping import Stopping
from onecard.data.rows import columns_of
from onecard.recipe.schema import Recipe
from onecard.run.folder import open_run
from onecard.run.resumed import Resumed
from onecard.stages.training import Training
from onecard.types import Problem
from train import new_training


def open_training(
    recipe: Recipe, folder: Path, weights: str, problems: Sequence[Problem]
) -> Training:
    """What a stage takes, in a run folder `folder`/run."""
    run = open_run(folder, "run", recipe.resolved())
    training = new_training(recipe, columns_of(problems), Resumed(run, {}), Stopping(Display()))
    training.weights, training.problems = weights, list(problems)
    return training


def made_model(recipe: Recipe, problems: Sequence[Problem], folder: Path) -> str:
    """The random-weight model that a recipe names, in a folder."""
    from onecard.model.random_model import build_random_model

    return build_random_model(
        recipe.model,
        problems,
        folder,
        system_prompt=recipe.data.system_prompt,
        answer_format=recipe.answer.format,
        seed=recipe.seed,
    )
