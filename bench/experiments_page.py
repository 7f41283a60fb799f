"""docs/experiments.md, from the files that `make experiments` leaves in docs/experiments/."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from textwrap import fill
from typing import Any

import yaml

from bench.real_table import accuracy, percent, pooled
from eval.statistics import Difference, corrected, mean_interval, paired_difference
from onecard.files.atomic import write_atomic
from onecard.report.comparison import told
from onecard.report.curves import as_svg

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "recipes/experiments"
RESULTS = ROOT / "docs/experiments"
PAGE = ROOT / "docs/experiments.md"
NOT_READ = "Not read yet."
INTRODUCTION = """# Experiments

Made by `make experiments` with the tiny model, which has 0.4 M parameters and an engineered task
(recipes/tiny.yaml). **What is found here need not hold for a real model.** The arms are in
[recipes/experiments/arms.yaml](../recipes/experiments/arms.yaml): what each changes in
[one recipe](../recipes/experiments/grpo.yaml).

- Every arm has the same three seeds, and starts from the model that SFT with that seed has made.
- Every arm samples 2,560 completions in all. Those with a learned reward model sample 1,024 more,
  for that model to learn from. "seconds" is the time of all stages that learn. The machine had
  other work beside it: they are a rough guide.
- "sampled" is the mean of four answers at temperature 1 to each of 128 test problems. "greedy" is
  one answer to each of 256.
- Pooled: each problem's mean over the seeds. Intervals are a bootstrap over the problems, and p a
  sign-flip test of the problems' differences from the first arm, corrected for the number of all
  comparisons on this page (Holm); the intervals are not. Seeds are few: an arm that is ahead by a
  little may be behind with others.
"""
HOW = ("sampled", "greedy")
Runs = dict[int, dict[str, Any]]  # the outcome of each seed


@dataclass(frozen=True)
class Experiment:
    """A question. The other arms are held against the first one."""

    name: str
    asks: str
    arms: tuple[str, ...]
    found: str


def load_experiments() -> list[Experiment]:
    content = yaml.safe_load((FOLDER / "questions.yaml").read_text(encoding="utf-8"))
    return [
        Experiment(name, one["asks"], tuple(one["arms"]), one.get("found", NOT_READ))
        for name, one in content.items()
    ]


def load_runs(arm: str) -> Runs:
    """The outcome of each seed that is finished."""
    files = {int(file.stem.rpartition("-")[2]): file for file in RESULTS.glob(f"{arm}-[0-9].json")}
    return {seed: json.loads(files[seed].read_text(encoding="utf-8")) for seed in sorted(files)}


def right(runs: Sequence[dict[str, Any]], how: str) -> list[float]:
    """Each problem's share of right answers over all seeds."""
    return pooled([{"arm": run} for run in runs], "arm", how)


def compared(experiments: Sequence[Experiment]) -> dict[tuple[str, str, str], Difference]:
    """How much more each arm has than the first of its experiment, of the same seeds.

    By experiment, arm, and how it was asked. p is corrected for their number.
    """
    found = {}
    for experiment in experiments:
        runs = runs_of(experiment)
        first = runs.get(experiment.arms[0], {})
        for arm, mine in runs.items():
            shared = [seed for seed in mine if seed in first]
            if mine is first or not shared:
                continue
            for how in HOW:
                before, after = ([side[seed] for seed in shared] for side in (first, mine))
                difference = paired_difference(right(before, how), right(after, how))
                found[experiment.name, arm, how] = difference
    return dict(zip(found, corrected(list(found.values())), strict=True))


def row(arm: str, runs: Runs, more: Sequence[Difference | None]) -> str:
    """A line of the table. `more`: than the first arm, sampled and greedily."""
    mine = list(runs.values())
    cells = [arm]
    for how, difference in zip(HOW, more, strict=True):
        each = ", ".join(percent(mean(run[how]["right"])) for run in mine)
        cells.append(f"{accuracy(right(mine, how))}; {each}")
        cells.append(told(difference) if difference else "")
    cells.append(f"{mean(run['sampled']['tokens'] for run in mine):.0f}")
    cells.append(f"{mean(run['seconds'] for run in mine):.0f}")
    alarms = sorted({name for run in mine for name in run["alarms"]})
    counts = [f"{name} ({sum(name in run['alarms'] for run in mine)})" for name in alarms]
    cells.append(", ".join(counts))
    ranked = [run["ranking"] for run in mine if run["ranking"]]
    cells.append(", ".join(percent(one["accuracy"]) for one in ranked))
    return f"| {' | '.join(cells)} |"


def plot(runs: dict[str, Runs]) -> str:
    """Each arm's sampled accuracy with its interval, and a dot for each seed. SVG text."""
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    figure = Figure(figsize=(6.4, 0.8 + 0.45 * len(runs)), layout="constrained")
    axes = figure.subplots()
    for place, of_seeds in enumerate(runs.values()):
        shares = right(list(of_seeds.values()), "sampled")
        low, high = mean_interval(shares)
        axes.plot([100 * low, 100 * high], [place, place], linewidth=4, alpha=0.4, color="tab:blue")
        axes.plot(100 * mean(shares), place, "o", color="tab:blue")
        for run in of_seeds.values():
            axes.plot(100 * mean(run["sampled"]["right"]), place, ".", color="black")
    axes.set_yticks(range(len(runs)), list(runs))
    axes.invert_yaxis()
    axes.set(xlabel="% right, sampled: pooled with its 95 % interval, and each seed")
    return as_svg(figure)


def section(experiment: Experiment, differences: Mapping[tuple[str, str, str], Difference]) -> str:
    runs = runs_of(experiment)
    if not runs:
        return f"## {experiment.asks}\n\nNot run yet.\n"
    rows = []
    for arm, found in runs.items():
        more = [differences.get((experiment.name, arm, how)) for how in HOW]
        rows.append(row(arm, found, more))
    missing = [arm for arm in experiment.arms if arm not in runs]
    lines = [
        f"## {experiment.asks}",
        "",
        fill(experiment.found, 100),
        "",
        f"![{experiment.name}](experiments/{experiment.name}.svg)",
        "",
        (
            "| arm | sampled: % (95 %); each seed | more than the first: points |"
            " greedy: % (95 %); each seed | more than the first: points | tokens | seconds |"
            " alarms (seeds) | reward model's held-out ranking: % |"
        ),
        "|" + "---|" * 9,
        *rows,
        *(["", f"Not run yet: {', '.join(missing)}."] if missing else []),
    ]
    return "\n".join(lines) + "\n"


def runs_of(experiment: Experiment) -> dict[str, Runs]:
    """The outcomes of each arm that has one, by seed."""
    return {arm: found for arm in experiment.arms if (found := load_runs(arm))}


def page(experiments: Sequence[Experiment]) -> str:
    differences = compared(experiments)
    return "\n".join([INTRODUCTION, *(section(one, differences) for one in experiments)])


def write_page(experiments: Sequence[Experiment]) -> None:
    """The page and its plots, from what there is."""
    for experiment in experiments:
        if runs := runs_of(experiment):
            write_atomic(RESULTS / f"{experiment.name}.svg", plot(runs) + "\n")
    write_atomic(PAGE, page(experiments))
