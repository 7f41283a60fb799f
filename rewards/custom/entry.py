"""A reward function of the user's own, called as TRL calls it, or with one rollout at a time."""

from collections.abc import Sequence
from typing import Literal

from pydantic import model_validator

from rewards.base import Context, Reward, Scorer
from rewards.custom.call import Call
from rewards.custom.functions import check_function, load_function
from rewards.custom.isolated import IsolatedScorer
from rewards.custom.scorers import AsyncScorer, CustomScorer, ParallelScorer


class Custom(Reward):
    """Pays what `function` returns for each completion: a number, a Score, or None for "does not
    apply".

    TRL's signature: function(prompts, completions, **columns), called once with the whole batch.
    Ours: function(rollout). Both may be `async`. Sync ones are called on the main thread, one
    after the other; with `parallel`, on threads: whole groups at a time, or one rollout. With
    `isolated`, in a process of its own, which is killed at the deadline and made anew.
    What it can be gamed by is its author's to know; --self-test asks the usual.
    """

    name: Literal["custom"]
    function: str
    parallel: bool = False
    isolated: bool = False

    @model_validator(mode="after")
    def check_how(self) -> "Custom":
        if self.parallel and self.isolated:
            raise ValueError("parallel and isolated: only one of them can be; leave the other out")
        return self

    @property
    def label(self) -> str:
        return self.function.rpartition(":")[2].rpartition(".")[2]

    @property
    def pays_for_layout(self) -> bool:
        """Of a function of somebody's own nothing is known but its name."""
        return "format" in self.label

    def open(self, context: Context) -> Scorer:
        """Runs the user's file, once. Raises UserError for arguments that nobody could give."""
        call = Call(self.function, load_function(self.function), context.moment)
        call.check(context.columns)
        kind: type[IsolatedScorer | CustomScorer] = CustomScorer
        if self.isolated:
            kind = IsolatedScorer
        elif call.is_async:
            kind = AsyncScorer
        elif self.parallel:
            kind = ParallelScorer
        return kind(call, context.deadline_seconds)


def check_functions(rewards: Sequence[Reward]) -> None:
    """Find the function of every custom entry. Raises UserError naming what is missing.

    No file is run: Unsloth must be imported before TRL or transformers are.
    """
    for reward in rewards:
        if isinstance(reward, Custom):
            check_function(reward.function)
