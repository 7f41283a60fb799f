"""A reward function of the user's own: path/to/file.py:function, or a dotted name."""

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from onecard.types import Rollout, Score, UserError
from rewards.base import Context, Reward, Rule, RuleScorer

WANTED = "wanted path/to/file.py:function or package.module.function"


class Custom(Rule):
    """Pays what `function` returns for a completion: a number, a Score, or None for "not
    applicable".

    Ours: function(rollout). TRL's, as notebooks have it: function(prompts, completions, **columns),
    called once per completion with lists of one, so it cannot compare a group. Columns: `question`,
    `completion_ids` (zeros, as many as tokens), and the right answer as `answer`, `solution` and
    `gold`. What it can be gamed by is its author's to know; --self-test asks the usual.
    """

    name: Literal["custom"]
    function: str

    @property
    def label(self) -> str:
        return self.function.rpartition(":")[2].rpartition(".")[2]

    @property
    def pays_for_layout(self) -> bool:
        """Of a function of somebody's own nothing is known but its name."""
        return "format" in self.label

    def open(self, context: Context) -> RuleScorer:
        """Runs the user's file, once and before any thread asks for a score."""
        load_function(self.function)
        return super().open(context)

    def score(self, rollout: Rollout) -> Score | None:
        function = load_function(self.function)
        if "completions" in inspect.signature(function).parameters:
            prompt = [{"role": "user", "content": rollout.problem.question}]
            completion = [{"role": "assistant", "content": rollout.text}]
            gold = [rollout.problem.gold]
            values = function(
                prompts=[prompt],
                completions=[completion],
                completion_ids=[[0] * rollout.tokens],
                question=[rollout.problem.question],
                answer=gold,  # the GSM8K notebooks' name for it
                solution=gold,  # that of trl.rewards and open-r1
                gold=gold,
            )
            if not isinstance(values, list) or len(values) != 1:
                raise ValueError(
                    f"{self.function} returned {values!r} for one completion; wanted a list of one"
                    " number"
                )
            value = values[0]
        else:
            value = function(rollout)
        return value if value is None or isinstance(value, Score) else Score(float(value))


def check_functions(rewards: list[Reward]) -> None:
    """Find the function of every custom entry. Raises UserError naming what is missing.

    No file is run: Unsloth must be imported before TRL or transformers are.
    """
    for reward in rewards:
        if isinstance(reward, Custom):
            where, attribute = split_name(reward.function)
            missing = missing_from(where, attribute)
            if missing:
                raise UserError(
                    f"rewards: custom function {reward.function!r}: {missing}; {WANTED}"
                )


def missing_from(where: str, attribute: str) -> str | None:
    """What keeps `attribute` from being found in a file or a package; None where nothing does.

    Neither is run.
    """
    if not where or attribute == "py":
        return "it names no function"
    if not where.endswith(".py"):
        package = where.partition(".")[0]
        return None if package in sys.modules or find_spec(package) else f"no package {package!r}"
    if not Path(where).is_file():
        return f"no file {where}"
    try:
        tree = ast.parse(Path(where).read_bytes(), where)
    except (
        OSError,
        SyntaxError,
        ValueError,
        RecursionError,
        MemoryError,
    ) as error:  # the last two for brackets without end
        return str(error) or type(error).__name__
    return (
        None
        if {attribute, "*", "globals", "exec", "setattr"} & names_in(tree)
        else f"no {attribute!r} in {where}"
    )


def names_in(tree: ast.AST) -> set[str]:
    """The names that Python code defines, assigns or imports anywhere in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    return found


@cache
def load_function(name: str) -> Callable[..., Any]:
    """The function of that name. Raises UserError naming what is missing."""
    where, attribute = split_name(name)
    try:
        if where.endswith(".py"):
            spec = importlib.util.spec_from_file_location(
                f"onecard_custom_{Path(where).stem}", where
            )
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # dataclasses look their module up while it runs
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(where)
        function: Callable[..., Any] = getattr(module, attribute)
        if not callable(function):
            raise TypeError(f"{attribute} is not a function")
    except (Exception, SystemExit) as error:  # the file is the user's own and may raise anything
        raise UserError(f"rewards: custom function {name!r}: {error}; {WANTED}") from None
    return function


def split_name(name: str) -> tuple[str, str]:
    """A file or module, and what stands in it."""
    where, colon, attribute = name.rpartition(":")
    if not colon:
        where, _, attribute = name.rpartition(".")
    return where, attribute
