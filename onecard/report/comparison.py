"""Finished runs, compared: what differs in their recipes beside what differs in their results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table
from rich.text import Text

from eval.scores import p_text
from eval.statistics import mean_interval, paired_difference
from onecard.files.atomic import write_atomic
from onecard.report.compared_curves import draw_arms
from onecard.report.finished import (
    FEW_KEYS,
    Arm,
    FinishedRun,
    changed_keys,
    group_by_seed,
    load_run,
    value_of,
)
from onecard.report.rendering import render
from onecard.types import UserError

HOW = (
    "Greedy, on problems not trained on. Several seeds: each problem's mean over them. Intervals:"
    " 95 %, by problem. Differences are of the same problems: p is McNemar's exact test, with"
    " several seeds a sign-flip test."
)


@dataclass(frozen=True)
class Grid:
    """A table of texts. The first column says what a row is about."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def compare_runs(folders: Sequence[Path], out: Path | None = None) -> Group:
    """The tables for a terminal. With `out` they are in that folder too, as a page with a plot.

    Raises UserError where a folder is no finished run, or where no two runs were asked the same.
    """
    runs = [load_run(folder) for folder in folders]
    arms = group_by_seed(runs)
    grids = grids_of(runs, arms)
    tables = [as_table(grid) for grid in grids]
    lines = [Text(HOW)]
    if out is not None:
        write_comparison(out, arms, grids)
        lines.append(Text(f"\ncomparison  {out / 'comparison.html'}"))
    return Group(*tables, *lines)


def write_comparison(out: Path, arms: Sequence[Arm], grids: Sequence[Grid]) -> None:
    """comparison.html (one file), comparison.md and its plot."""
    out.mkdir(parents=True, exist_ok=True)
    title, svg = draw_arms(arms)
    write_atomic(out / "curves.svg", svg + "\n")
    for name in ("comparison.md", "comparison.html"):
        text = render(name, grids=grids, how=HOW, title=title, svg=svg)
        write_atomic(out / name, text)


def grids_of(runs: Sequence[FinishedRun], arms: Sequence[Arm]) -> list[Grid]:
    found = []
    keys = changed_keys(runs)
    if len(keys) > FEW_KEYS:
        rows = [[".".join(key), *(value_of(arm.runs[0], key) for arm in arms)] for key in keys]
        found.append(Grid("What differs in the recipes", ["", *(arm.label for arm in arms)], rows))
    same = shared_benchmarks(runs)
    for benchmark in same:
        found.append(results_of(benchmark, arms))
        if any(len(arm.runs) > 1 for arm in arms):
            each = [Arm(run.folder.name, [run]) for run in runs]
            found.append(results_of(benchmark, each, f"{benchmark}: each run"))
    return found


def shared_benchmarks(runs: Sequence[FinishedRun]) -> list[str]:
    """Those of which all runs were asked the same problems. Raises UserError without any."""
    first, *others = runs
    there = [
        name
        for name in first.results["benchmarks"]
        if all(name in other.results["benchmarks"] for other in others)
    ]
    same = [
        name for name in there if all(other.asked(name) == first.asked(name) for other in others)
    ]
    if not same:
        raise UserError(
            "these runs do not compare: there is no benchmark of which all were asked the same"
            f" problems; {first.folder} has {', '.join(first.results['benchmarks'])}"
        )
    return same


def results_of(benchmark: str, arms: Sequence[Arm], title: str | None = None) -> Grid:
    """A row for each arm: before, after, what it gained, and how much more than the first arm."""
    first = arms[0]
    columns = ["", "seeds", "before", "after", "gained: points"]
    columns += [f"more than {first.label}: points"] if len(arms) > 1 else []
    columns += ["tokens", "minutes", "alarms"]
    rows = []
    for arm in arms:
        before, after = pooled(arm, benchmark, "before"), pooled(arm, benchmark, "after")
        seeds = ", ".join(str(run.seed) for run in arm.runs)
        row = [arm.label, seeds, share(before), share(after), change(before, after)]
        if len(arms) > 1:
            others = pooled(first, benchmark, "after")
            row.append("" if arm is first else change(others, after))
        rows.append([*row, *cost_of(arm, benchmark)])
    n = len(pooled(first, benchmark, "after"))
    return Grid(f"{title or benchmark}, {n:,} problems", columns, rows)


def pooled(arm: Arm, benchmark: str, when: str) -> list[float]:
    """Each problem's share of right answers over the arm's seeds."""
    return [
        fmean(one) for one in zip(*(run.right(benchmark, when) for run in arm.runs), strict=True)
    ]


def cost_of(arm: Arm, benchmark: str) -> list[str]:
    """Tokens of an answer after training, minutes of a run (means), and alarms."""
    results = [run.results for run in arm.runs]
    tokens = fmean(one["benchmarks"][benchmark]["after"]["mean_tokens"] for one in results)
    minutes = fmean(one["seconds"]["total"] for one in results) / 60
    alarms = dict.fromkeys(name for run in arm.runs for name in run.alarms)
    return [f"{tokens:.0f}", f"{minutes:.3g}", ", ".join(alarms)]


def share(right: Sequence[float]) -> str:
    low, high = mean_interval(right)
    return f"{fmean(right):.1%} ({100 * low:.1f} to {100 * high:.1f})"


def change(before: Sequence[float], after: Sequence[float]) -> str:
    d = paired_difference(before, after)
    return f"{d.points:+.1f} ({d.ci_low:+.1f} to {d.ci_high:+.1f}), p {p_text(d.p_value)}"


def as_table(grid: Grid) -> Table:
    table = Table(title=Text(grid.title), box=SIMPLE, pad_edge=False, title_justify="left")
    for number, column in enumerate(grid.columns):
        table.add_column(Text(column), justify="right" if number else "left")
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table
