"""The rewards of a recipe, opened."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from onecard.recipe.schema import Recipe
from rewards.judges.reward_model import TRAINED, RewardModel, ScoringModel
from rewards.scoring import BatchScorer


def open_rewards(
    recipe: Recipe,
    columns: frozenset[str] | None = None,
    say: Callable[[str], None] = print,
    trained: Path | None = None,
) -> BatchScorer:
    """What scores a batch as the recipe says. `columns`: those of the rows, where they are known.
    `trained`: where the reward model is, or will be, that the run itself trains.

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
        load_model=partial(load_model, trained=trained),
        seed=recipe.seed,
        accepts=recipe.grpo is not None and recipe.grpo.credit == "accepted",
    )


def load_model(reward: RewardModel, trained: Path | None) -> ScoringModel | None:
    """The model of a reward that has one; None for one that the run has not trained yet."""
    if reward.model == TRAINED:
        if trained is None or not trained.is_dir():
            return None
        reward = reward.model_copy(update={"model": str(trained)})
    from onecard.model.scoring import load_scoring_model

    return load_scoring_model(reward)
