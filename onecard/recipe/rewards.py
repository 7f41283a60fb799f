"""The rewards of a recipe, opened."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from onecard.recipe.schema import Recipe
from onecard.run.folder import Run
from rewards.judges.reward_model import TRAINED, RewardModel, ScoringModel
from rewards.scoring import BatchScorer


def open_rewards(
    recipe: Recipe,
    columns: frozenset[str] | None = None,
    say: Callable[[str], None] = print,
    run: Run | None = None,
) -> BatchScorer:
    """What scores a batch as the recipe says. `columns`: those of the rows, where they are known.
    `run` has the reward models that it trains.

    Raises UserError where a reward cannot be opened. To be closed.
    """
    return BatchScorer(
        recipe.rewards,
        recipe.answer,
        recipe.scoring,
        columns,
        recipe.all_rounds[-1].max_steps,
        apart=recipe.normalizes_each,
        by_step=recipe.grpo is not None and recipe.grpo.credit == "steps",
        say=say,
        load_model=partial(load_model, trained=trained_models(recipe, run)),
        seed=recipe.seed,
        accepts=recipe.grpo is not None and recipe.grpo.credit == "accepted",
    )


def trained_models(recipe: Recipe, run: Run | None) -> list[Path]:
    """Where the reward models are, or will be, that a run trains: the newest last."""
    rounds = [one for one in recipe.all_rounds if one.stage == "reward_model"]
    return [run.reward_model_after(one.label) for one in rounds] if run else []


def load_model(reward: RewardModel, trained: Sequence[Path]) -> ScoringModel | None:
    """The model of a reward that has one; None for one that the run has not trained yet."""
    if reward.model == TRAINED:
        there = [model for model in trained if model.is_dir()]
        if not there:
            return None
        reward = reward.model_copy(update={"model": str(there[-1])})
    from onecard.model.scoring import load_scoring_model

    return load_scoring_model(reward)
