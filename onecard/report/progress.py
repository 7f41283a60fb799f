"""How far a run is, from what is in its folder: also while it trains."""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from onecard.console.display import clock
from onecard.files.formats import read_jsonl
from onecard.recipe.file import load_recipe
from onecard.recipe.schema import Recipe
from onecard.report.curves import points_of, title_of
from onecard.report.reading import read_json
from onecard.report.steps import split_steps
from onecard.run.folder import EVALUATIONS, RECIPE
from onecard.run.lock import is_at_work

LATELY = 10  # steps, of which a mean is shown
# What is shown of the steps: the key of a metric, and what people call it.
SHOWN = {
    "reward": "reward",
    "answers/correct": "share of right completions",
    "rewards/signal_share": "share of groups with a signal",
    "completions/mean_length": "tokens a completion",
    "kl": "KL from the start, nats a token",
    "entropy": "entropy, nats a token",
    "loss": "loss",
}


@dataclass(frozen=True)
class Number:
    """A metric of the stage under way: of its first steps, lately, and of its newest step."""

    label: str
    first: float
    lately: float
    newest: float


@dataclass(frozen=True)
class Progress:
    """`state`: running, finished or stopped. `left`: of the stage, "3:20"; None where unknown."""

    state: str
    phase: str
    step: int
    steps: int
    left: str | None
    numbers: list[Number]
    dev: list[tuple[int, float]]  # accuracy by step
    seconds: dict[str, float]


def read_progress(folder: Path) -> Progress:
    """Raises UserError where a file is being written at this moment: a moment later it is whole."""
    recipe = load_recipe(folder / RECIPE)
    stage, lines = stage_under_way(folder, recipe)
    trained = [line for line in lines if "loss" in line]
    steps = sum(one.max_steps for one in recipe.all_rounds if one.stage == stage)
    done = trained[-1]["step"] if trained else 0
    running = is_at_work(folder)
    return Progress(
        "running" if running else "finished" if is_finished(folder) else "stopped",
        phase_of(folder, recipe, stage, done),
        done,
        steps,
        time_left(trained, steps - done) if running else None,
        numbers_of(trained),
        points_of(lines, f"eval/{recipe.source.dev_benchmark}/accuracy"),
        read_json(folder / "seconds.json") or {},
    )


def is_finished(folder: Path) -> bool:
    return (folder / "results.json").is_file() and not is_at_work(folder)


def stage_under_way(folder: Path, recipe: Recipe) -> tuple[str, list[dict[str, Any]]]:
    """The last stage of which something was measured, and what; the first one before that."""
    for one in reversed(recipe.all_rounds):
        file = folder / one.metrics
        lines = read_jsonl(file, unfinished=True) if file.is_file() else []
        if lines and (one.number == 1 or lines[-1]["step"] > one.steps_before):
            return one.stage, lines
    return recipe.stages[0], []


def phase_of(folder: Path, recipe: Recipe, stage: str, done: int) -> str:
    """What it does now, or did last."""
    asked = {place.name.rpartition("-")[2] for place in (folder / EVALUATIONS).glob("*")}
    if "after" in asked:
        return "evaluation after training"
    if stage == recipe.stages[-1] and not done and "before" in asked:
        return f"evaluation before {title_of(stage)}"
    # While a reward model is renewed, the last stage has begun already.
    last_begun = (folder / "metrics.jsonl").is_file()
    if stage != recipe.stages[-1] and (folder / "pilot.json").is_file() and not last_begun:
        return f"evaluation before {title_of(recipe.stages[-1])}"
    return title_of(stage) if done else f"before {title_of(stage)}"


def time_left(trained: list[dict[str, Any]], steps: int) -> str | None:
    """At the pace of the last steps, without evaluations."""
    split = split_steps(trained[-LATELY:])
    return clock(steps * split.total) if split and steps > 0 else None


def numbers_of(trained: list[dict[str, Any]]) -> list[Number]:
    found = []
    for key, label in SHOWN.items():
        values = [line[key] for line in trained if line.get(key) is not None]
        if values:
            first, lately = fmean(values[:LATELY]), fmean(values[-LATELY:])
            found.append(Number(label, first, lately, values[-1]))
    return found
