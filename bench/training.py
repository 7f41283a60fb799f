"""A run of Onecard as the benches build it: what train.py fills, without a run's two ends."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onecard.console.display import Display
from onecard.console.stopping import Stopping
from onecard.data.prompts import prompt_for, target_for
from onecard.plan.fit import how_to_save
from onecard.recipe.schema import Recipe
from onecard.run.folder import open_run
from onecard.run.journal import Journal
from onecard.run.keeper import Keeper
from onecard.stages.training import Training
from onecard.types import Problem
from onecard.watch.clock import StepClock
from rewards.scoring import BatchScorer

if TYPE_CHECKING:
    from onecard.stages.trl.trainers import OnecardGrpoTrainer


def open_training(
    recipe: Recipe, folder: Path, weights: str, problems: Sequence[Problem]
) -> Training:
    """What a stage takes, in a run folder `folder`/run."""
    run = open_run(folder, "run", recipe.resolved())
    display = Display(quiet=True)
    return Training(
        seed=recipe.seed,
        model=recipe.model,
        lora=recipe.lora,
        data=recipe.data,
        answer=recipe.answer,
        sections=recipe,
        save=recipe.save,
        health=recipe.health,
        pilot=0,
        dev_every_steps=None,
        run=run,
        origin={},
        journal=Journal(run),
        display=display,
        stopping=Stopping(display),
        weights=weights,
        how_to_save=how_to_save(recipe),
        card=None,
        scorer=BatchScorer(recipe.rewards, recipe.answer, recipe.scoring),
        problems=list(problems),
    )


def build_trainer(training: Training, clock: StepClock) -> "OnecardGrpoTrainer":
    """The GRPO trainer of a run, watched and kept as a run's is, with no checkpoint on the disk."""
    from onecard.stages.trl.build import build_grpo_trainer
    from onecard.stages.trl.callback import GrpoSteps
    from onecard.stages.trl.state import TrainingState

    policy = training.load_policy()
    never = training.save.model_copy(update={"every_steps": 10**9, "every_minutes": 1e9})
    keeper: Keeper[TrainingState] = Keeper(
        training.run.checkpoints("grpo"), never, {}, write=lambda *_: None
    )
    steps = GrpoSteps(training, policy, keeper, clock, lambda done, **_: None)
    return build_grpo_trainer(training, policy, steps, clock)


def made_model(recipe: Recipe, problems: Sequence[Problem], folder: Path) -> str:
    """The random-weight model that a recipe names, in a folder."""
    from onecard.model.random_model import build_random_model

    system_prompt = recipe.data.system_prompt
    conversations = [
        prompt_for(problem, system_prompt) + target_for(problem, recipe.answer.format)
        for problem in problems
    ]
    length = recipe.model.max_seq_length
    return build_random_model(
        recipe.model.name, conversations, folder, max_seq_length=length, seed=recipe.seed
    )
