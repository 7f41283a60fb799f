"""The recipe's `eval:`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from eval.benchmarks import known_benchmark
from onecard.section import Count, Section

Benchmark = Annotated[str, AfterValidator(known_benchmark)]


class Eval(Section):
    """Greedy accuracy on the same problems before and after.

    `limit`: problems per benchmark, None for all. `score` names a reward of the recipe: its mean is
    reported beside the accuracy, for tasks that are not only right or wrong. With `every_steps`,
    the first `dev_problems` of the data set's dev split are put to the policy before step 1 and
    during training too.
    """

    benchmarks: Annotated[list[Benchmark], Field(min_length=1)]
    limit: Count | None = None
    score: str | None = None
    every_steps: Count | None = None
    dev_problems: Count = 64
    batch_size: Count
    max_completion_length: Count
