"""How a function is called: what its signature asks for, and what there is to give."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from onecard.types import Rollout, UserError
from rewards.base import Moment

FROM_TRL = (
    "prompts",
    "completions",
    "completion_ids",
    "trainer_state",
    "log_extra",
    "log_metric",
)
# The right answer, under the names that the notebooks have for it.
GOLD_NAMES = ("answer", "solution", "gold")
ALWAYS_THERE = frozenset((*FROM_TRL, "question", *GOLD_NAMES))


class Call:
    """How a function wants to be called, seen from its signature."""

    def __init__(self, name: str, function: Callable[..., Any], moment: Moment) -> None:
        self.name, self.function, self.moment = name, function, moment
        try:
            self.parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # some of C have none
            self.parameters = []
        self.takes_all = any(one.kind == one.VAR_KEYWORD for one in self.parameters)
        named = {one.name for one in self.parameters}
        self.takes_one = not self.takes_all and not named & set(FROM_TRL) and len(self.needed) <= 1
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            type(function).__call__  # an object that is called
        )

    @property
    def needed(self) -> list[str]:
        """The arguments that it cannot do without."""
        several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return [
            one.name
            for one in self.parameters
            if one.default is one.empty and one.kind not in several
        ]

    def check(self, columns: frozenset[str] | None) -> None:
        """Raise UserError where an argument is neither TRL's nor a column of the rows."""
        if self.takes_one or columns is None:
            return
        there = ALWAYS_THERE | columns
        if missing := [name for name in self.needed if name not in there]:
            raise UserError(
                f"rewards: custom function {self.name!r} asks for {', '.join(missing)}; there are:"
                f" {', '.join(sorted(there))}. Further arguments are columns of the rows of"
                " data.path"
            )

    def one(self, rollout: Rollout) -> Any:
        return self.function(rollout)

    def many(self, rollouts: Sequence[Rollout]) -> Any:
        """Call it as TRL does, with those of the arguments that it takes."""
        given = arguments(rollouts, self.moment)
        if not self.takes_all:
            taken = {parameter.name for parameter in self.parameters}
            given = {name: values for name, values in given.items() if name in taken}
        return self.function(**given)


def arguments(rollouts: Sequence[Rollout], moment: Moment) -> dict[str, Any]:
    """What TRL gives a reward function, and every column of the problems, as lists of one length.

    A completion is chat messages where its prompt is, else text. A row without a column has None.
    """
    problems = [rollout.problem for rollout in rollouts]
    names = dict.fromkeys(name for problem in problems for name in problem.columns)
    columns: dict[str, Any] = {
        name: [problem.columns.get(name) for problem in problems] for name in names
    }
    golds = [problem.gold for problem in problems]
    named = {"question": [problem.question for problem in problems]}
    named |= dict.fromkeys(GOLD_NAMES, golds)
    prompts: list[Any] = [prompt_of(rollout) for rollout in rollouts]
    return (
        named
        | columns
        | {
            "prompts": prompts,
            "completions": [
                rollout.text
                if isinstance(prompt, str)
                else [{"role": "assistant", "content": rollout.text}]
                for rollout, prompt in zip(rollouts, prompts, strict=True)
            ],
            # Without tokens, as in the self-test, as many zeros as there are words.
            "completion_ids": [
                list(rollout.ids) if rollout.ids else [0] * rollout.tokens for rollout in rollouts
            ],
            "trainer_state": moment.trainer_state,
            "log_extra": moment.log_extra,
            "log_metric": moment.log_metric,
        }
    )


def prompt_of(rollout: Rollout) -> str | list[dict[str, str]]:
    prompt = rollout.prompt or rollout.problem.prompt
    if isinstance(prompt, str):
        return prompt
    if prompt:
        return [dict(message) for message in prompt]
    return [{"role": "user", "content": rollout.problem.question}]
