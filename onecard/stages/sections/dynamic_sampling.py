"""The recipe's `grpo.dynamic_sampling:`."""

from typing import Annotated, Literal

from pydantic import Field

from onecard.section import Count, Section


class DynamicSampling(Section):
    """Which groups a step of GRPO trains on (DAPO: Yu et al. 2025, arXiv 2503.14476).

    A group whose completions are all paid alike teaches nothing. Others are sampled in its place,
    until the step is full or has been filled `max_rounds` times; then it trains on what there is.

    `choose` says which problems are asked: `in_turn` each one once before any is asked again;
    `by_pass_rate` rather those that the policy is likely to solve sometimes and fail sometimes. It
    guesses that by how often a problem, and others of its `data.difficulty`, was solved lately.
    `floor` is how likely the least promising problem is to be asked, beside the most promising one:
    so that nothing is forgotten.
    """

    max_rounds: Count = 3
    choose: Literal["in_turn", "by_pass_rate"] = "in_turn"
    floor: Annotated[float, Field(gt=0, le=1)] = 0.05
