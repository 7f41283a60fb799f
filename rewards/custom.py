"""A reward function of the user's own: path/to/file.py:function, or a dotted name."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

from onecard.types import Rollout, Score, UserError
from rewards.base import Reward


class Custom(Reward):
    """Pays what `function` returns for a completion: a number, a Score, or None for "does not apply".

    Ours: function(rollout). TRL's: function(prompts, completions, **columns), which is given lists of one; `gold` and
    `question` are among the columns. What it can be gamed by is its author's to know; --self-test asks the usual.
    """

    name: Literal["custom"]
    function: str

    @property
    def label(self) -> str:
        return self.function.rpartition(":")[2].rpartition(".")[2]

    def score(self, rollout: Rollout) -> Score | None:
        function = load_function(self.function)
        if "completions" in inspect.signature(function).parameters:
            prompt = [{"role": "user", "content": rollout.sample.question}]
            completion = [{"role": "assistant", "content": rollout.text}]
            columns = {"gold": [rollout.sample.gold], "question": [rollout.sample.question], "completion_ids": [[0] * rollout.tokens]}
            values = function(prompts=[prompt], completions=[completion], **columns)
            if not isinstance(values, list) or len(values) != 1:
                raise ValueError(f"{self.function} returned {values!r} for one completion; wanted a list of one number")
            value = values[0]
        else:
            value = function(rollout)
        return value if value is None or isinstance(value, Score) else Score(float(value))


def check_functions(rewards: list[Reward]) -> None:
    """Load the function of every custom entry. Raises UserError naming what is missing."""
    for reward in rewards:
        if isinstance(reward, Custom):
            load_function(reward.function)


@cache
def load_function(name: str) -> Callable[..., Any]:
    """The function of that name. Raises UserError naming what is missing."""
    where, colon, attribute = name.rpartition(":")
    if not colon:
        where, _, attribute = name.rpartition(".")
    try:
        if where.endswith(".py"):
            if not Path(where).is_file():
                raise UserError(f"rewards: custom function {name!r}: no file {where}")
            spec = importlib.util.spec_from_file_location(f"onecard_custom_{Path(where).stem}", where)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # dataclasses look their module up while it runs
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(where)
        function: Callable[..., Any] = getattr(module, attribute)
        if not callable(function):
            raise TypeError(f"{attribute} is no function")
    except UserError:
        raise
    except Exception as error:  # the file is the user's own and may raise anything
        raise UserError(f"rewards: custom function {name!r}: {error}; wanted path/to/file.py:function or package.module.function") from None
    return function
