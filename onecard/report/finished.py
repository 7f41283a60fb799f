"""Finished runs, read from their folders; those that differ in the seed alone stand together."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from eval.record import read_result
from eval.scores import ACCURACIES, by_problem
from onecard.files.differences import Key, differences, short_names
from onecard.files.formats import read_jsonl
from onecard.run.folder import EVALUATIONS, RECIPE
from onecard.run.lock import is_at_work
from onecard.types import EvalResult, UserError

PROSE = ("name", "claim", "caveat", "anchor", "measured")  # keys that change nothing in a run
FEW_KEYS = 2  # so many can stand in the name of an arm
LONGEST_IN_LABEL = 40  # characters of a value


@dataclass(frozen=True)
class FinishedRun:
    """What a run folder says."""

    folder: Path
    recipe: dict[str, Any]
    results: dict[str, Any]

    @property
    def seed(self) -> int:
        return int(self.recipe["seed"])

    @cached_property
    def seedless(self) -> dict[str, Any]:
        """What the recipe says, but for its seed and its prose."""
        kept = {key: value for key, value in self.recipe.items() if key not in (*PROSE, "seed")}
        return {key: by_place(value) for key, value in kept.items()}

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        return read_jsonl(self.folder / "metrics.jsonl", unfinished=True)

    @property
    def alarms(self) -> list[str]:
        """The names of the alarms that were told, each once."""
        file = self.folder / "health.jsonl"
        told = read_jsonl(file, unfinished=True) if file.is_file() else []
        return list(dict.fromkeys(one["name"] for one in told if one["level"] == "alarm"))

    @cached_property
    def evaluations(self) -> dict[tuple[str, str], tuple[dict[str, Any], EvalResult]]:
        """Settings and answers, by benchmark, before and after."""
        return {
            (name, when): read_result(self.folder / EVALUATIONS / f"{name}-{when}")
            for name in self.results["benchmarks"]
            for when in ("before", "after")
        }

    def right(self, benchmark: str, when: str) -> list[float]:
        """Whether each problem was right, 0 or 1. `when` is before or after."""
        return by_problem(self.evaluations[benchmark, when][1], ACCURACIES["accuracy"])

    def asked(self, benchmark: str) -> Any:
        """Which problems, in which order: what is the same in two runs can be compared."""
        return self.evaluations[benchmark, "after"][0]["benchmark"]


@dataclass(frozen=True)
class Arm:
    """Runs whose recipes differ in nothing but the seed."""

    label: str
    runs: list[FinishedRun]


def load_run(folder: Path) -> FinishedRun:
    """Raises UserError where a folder is no run, or one that has not finished or cannot be read."""
    if not (folder / RECIPE).is_file():
        raise UserError(f"{folder} is no run folder: it has no {RECIPE}")
    results = folder / "results.json"
    if not results.is_file():
        on = "it is still training" if is_at_work(folder) else "train.py with --resume goes on"
        raise UserError(f"the run {folder} has not finished: {on}")
    try:
        recipe = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
        found = FinishedRun(folder, recipe, json.loads(results.read_text(encoding="utf-8")))
        _ = found.seed, found.results["benchmarks"], found.results["seconds"]["total"]
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"the run {folder} cannot be read: {reason}") from None
    return found


def by_place(value: Any) -> Any:
    """A list of sections, such as rewards, as a mapping: its items are told apart by place."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return {str(place): by_place(item) for place, item in enumerate(value)}
    if isinstance(value, dict):
        return {key: by_place(item) for key, item in value.items()}
    return value


def changed_keys(runs: Sequence[FinishedRun]) -> list[Key]:
    """The keys whose values are not the same in all recipes, but for seed and prose.

    In the order of the recipes' keys.
    """
    first, *others = runs
    found: dict[Key, None] = {}
    for other in others:
        found |= {one.path: None for one in differences(first.seedless, other.seedless)}
    order: dict[Key, int] = {}
    for run in runs:
        for key in keys_of(run.seedless):
            order.setdefault(key, len(order))
    return sorted(found, key=lambda key: order[key])


def keys_of(content: dict[str, Any], path: Key = ()) -> Iterator[Key]:
    """Every key, those of sections too, as they stand."""
    for key, value in content.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from keys_of(value, (*path, key))


def value_of(run: FinishedRun, key: Key) -> str:
    """A value of a recipe as YAML on one line; "" where it has no such key."""
    value: Any = run.seedless
    for part in key:
        if not isinstance(value, dict) or part not in value:
            return ""
        value = value[part]
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return " ".join(text.removesuffix("...\n").split())


def group_by_seed(runs: Sequence[FinishedRun]) -> list[Arm]:
    """Runs that differ in the seed alone stand together, in the order of their first ones.

    An arm is called by the values that set it apart where there are few, else by its first run.
    Where two runs have the same recipe and seed, as before and after an update, each stands alone.
    """
    keys = changed_keys(runs)
    arms: dict[str, list[FinishedRun]] = {}
    for run in runs:
        arms.setdefault(json.dumps(run.seedless, sort_keys=True), []).append(run)
    if any(len({run.seed for run in group}) < len(group) for group in arms.values()):
        return [Arm(name, [run]) for name, run in zip(names_of(runs), runs, strict=True)]
    labels = [label_of(group[0], keys) for group in arms.values()]
    if 1 <= len(keys) <= FEW_KEYS and len(set(labels)) == len(labels):
        return [Arm(label, group) for label, group in zip(labels, arms.values(), strict=True)]
    names = names_of([group[0] for group in arms.values()])
    return [Arm(name, group) for name, group in zip(names, arms.values(), strict=True)]


def names_of(runs: Sequence[FinishedRun]) -> list[str]:
    """The names of their folders, with as many parents as set them apart."""
    paths = [run.folder.resolve().parts for run in runs]
    for count in range(1, max(map(len, paths))):
        names = ["/".join(parts[-count:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [str(run.folder.resolve()) for run in runs]


def label_of(run: FinishedRun, keys: Sequence[Key]) -> str:
    """The run's own values of some keys; a long one is cut."""
    names = short_names(keys)
    values = [shortened(value_of(run, key)) for key in keys]
    return ", ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST_IN_LABEL else f"{text[: LONGEST_IN_LABEL - 3]}..."
