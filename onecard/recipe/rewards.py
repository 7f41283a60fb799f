"""The rewards of a recipe, opened."""

from collections.abc import Callable

from onecard.recipe.schema import Recipe
from rewards.judges.reward_model import RewardModel, ScoringModel
from rewards.scoring import BatchScorer


def open_rewards(
    recipe: Recipe, columns: frozenset[str] | None = None, say: Callable[[str], None] = print
) -> BatchScorer:
    """What scores a batch as the recipe says. `columns`: those of the rows, where they are known.

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
        load_model=load_model,
    )


def load_model(reward: RewardModel) -> ScoringModel:
    """The model of a reward that has one."""
    from onecard.model.scoring import load_scoring_model

    return load_scoring_model(reward)
