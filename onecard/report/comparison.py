"""Finished runs, compared: what differs in their recipes beside what differs in their results."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Literal

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table
from rich.text import Text

from eval.scores import p_text
from eval.statistics import Difference, corrected, mean_interval, paired_difference
from onecard.files.atomic import write_atomic
from onecard.report.compared_curves import draw_arms
from onecard.report.finished import (
    FEW_KEYS,
    Arm,
    FinishedRun,
    changed_keys,
    group_by_seed,
    load_run,
    names_of,
    value_of,
)
from onecard.report.rendering import render
from onecard.types import UserError

HOW = (
    "Greedy, on problems not trained on. Several seeds: each problem's mean over them. Intervals:"
    " 95 %, by problem. Differences are of the same problems: p is McNemar's exact test, with"
    " several seeds a sign-flip test. They say whether these models differ on other problems, and"
    " not what other seeds would give: look at each run. Where several are held against the first,"
    " p is corrected for their number (Holm), the intervals are not."
)
OTHER_SEEDS = "p and intervals are about other problems; other seeds may give other models"


@dataclass(frozen=True)
class Grid:
    """A table of texts. The first column says what a row is about."""

    title: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Row:
    """What an arm came to. `more`: than the first arm, after training; None for that itself."""

    label: str
    seeds: str
    each_seed: str  # accuracy after training, in percent
    before: list[float]
    after: list[float]
    gained: Difference
    more: Difference | None
    tokens: float
    minutes: float
    alarms: str


@dataclass(frozen=True)
class Outcome:
    """The arms on one benchmark, pooled over their seeds; and where there are several, each run."""

    benchmark: str
    arms: list[Row]
    runs: list[Row]


def compare_runs(folders: Sequence[Path], out: Path | None = None) -> Group:
    """The tables for a terminal. With `out` they are in that folder too, as a page with a plot.

    Raises UserError where a folder is no finished run, or where no two runs were asked the same.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError("these runs do not compare: one of them is named twice")
    runs = [load_run(folder) for folder in folders]
    arms = group_by_seed(runs)
    recipes = recipes_of(runs, arms)
    outcomes = [outcome_of(benchmark, runs, arms) for benchmark in shared_benchmarks(runs)]
    shown: list[Table | Text] = [as_table(grid) for grid in recipes]
    shown += [points_table(one) for one in outcomes]
    shown.append(Text(f"note        {OTHER_SEEDS}"))
    shown += [
        Text(f"alarms      {row.label}: {row.alarms}") for row in outcomes[0].arms if row.alarms
    ]
    if out is not None:
        grids = [*recipes, *(grid for one in outcomes for grid in grids_of(one))]
        write_comparison(out, arms, grids)
        shown.append(Text(f"comparison  {out / 'comparison.html'}"))
    return Group(*shown)


def write_comparison(out: Path, arms: Sequence[Arm], grids: Sequence[Grid]) -> None:
    """comparison.html (one file), comparison.md and its plot."""
    out.mkdir(parents=True, exist_ok=True)
    title, svg = draw_arms(arms)
    write_atomic(out / "curves.svg", svg + "\n")
    for name in ("comparison.md", "comparison.html"):
        text = render(name, grids=grids, how=HOW, title=title, svg=svg)
        write_atomic(out / name, text)


def recipes_of(runs: Sequence[FinishedRun], arms: Sequence[Arm]) -> list[Grid]:
    """What differs in the recipes; no table where the arms' names say it."""
    keys = changed_keys(runs)
    if len(keys) <= FEW_KEYS:
        return []
    rows = [[".".join(key), *(value_of(arm.runs[0], key) for arm in arms)] for key in keys]
    return [Grid("What differs in the recipes", ["", *(arm.label for arm in arms)], rows)]


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


def outcome_of(benchmark: str, runs: Sequence[FinishedRun], arms: Sequence[Arm]) -> Outcome:
    several = any(len(arm.runs) > 1 for arm in arms)
    names = names_of(runs) if len(arms) > 1 else [f"seed {run.seed}" for run in runs]
    each = [Arm(name, [run]) for name, run in zip(names, runs, strict=True)] if several else []
    return Outcome(benchmark, rows_of(benchmark, arms), rows_of(benchmark, each))


def rows_of(benchmark: str, arms: Sequence[Arm]) -> list[Row]:
    rows: list[Row] = []
    for arm in arms:
        before, after = pooled(arm, benchmark, "before"), pooled(arm, benchmark, "after")
        results = [run.results for run in arm.runs]
        rows.append(
            Row(
                arm.label,
                ", ".join(str(run.seed) for run in arm.runs),
                ", ".join(f"{100 * fmean(run.right(benchmark, 'after')):.1f}" for run in arm.runs),
                before,
                after,
                gained=paired_difference(before, after),
                more=paired_difference(rows[0].after, after) if rows else None,
                tokens=fmean(r["benchmarks"][benchmark]["after"]["mean_tokens"] for r in results),
                minutes=fmean(r["seconds"]["total"] for r in results) / 60,
                alarms=", ".join(dict.fromkeys(name for run in arm.runs for name in run.alarms)),
            )
        )
    differences = corrected([row.more for row in rows if row.more])
    others = zip(rows[1:], differences, strict=True)
    return rows[:1] + [replace(row, more=more) for row, more in others]


def pooled(arm: Arm, benchmark: str, when: str) -> list[float]:
    """Each problem's share of right answers over the arm's seeds."""
    each = [run.right(benchmark, when) for run in arm.runs]
    return [fmean(of_problem) for of_problem in zip(*each, strict=True)]


def grids_of(outcome: Outcome) -> list[Grid]:
    """A table of all that is known of the arms, and one of the runs."""
    found = []
    for rows, title in ((outcome.arms, ""), (outcome.runs, ": each run")):
        if not rows:
            continue
        more = [f"more than {rows[0].label}"] if len(rows) > 1 else []
        columns = ["", "seeds", "before", "after", "points gained", *more, "tokens", "minutes"]
        if alarms := any(row.alarms for row in rows):
            columns.append("alarms")
        title = f"{outcome.benchmark}{title}, {len(rows[0].after):,} problems"
        cells = [cells_of(row, bool(more), alarms) for row in rows]
        found.append(Grid(title, columns, cells))
    return found


def cells_of(row: Row, compared: bool, alarms: bool) -> list[str]:
    cells = [row.label, row.seeds, share(row.before), share(row.after), told(row.gained)]
    cells += [told(row.more) if row.more else ""] if compared else []
    cells += [f"{row.tokens:.0f}", f"{row.minutes:.3g}"]
    return [*cells, row.alarms] if alarms else cells


def share(right: Sequence[float]) -> str:
    low, high = mean_interval(right)
    return f"{fmean(right):.1%} ({100 * low:.1f} to {100 * high:.1f})"


def told(d: Difference) -> str:
    return f"{d.points:+.1f} ({d.ci_low:+.1f} to {d.ci_high:+.1f}), p {p_text(d.p_value)}"


def points_table(outcome: Outcome) -> Table:
    """For a terminal: how much more than the first arm; of seeds alone, what each has gained."""
    arms = outcome.arms
    title = f"{outcome.benchmark}, {len(arms[0].after):,} problems: points gained in training"
    rows: list[tuple[Row, Difference | None]]
    rows = [(row, row.gained) for row in (*outcome.runs, *arms)]
    if len(arms) > 1:
        than = f"points more than {arms[0].label}, after training"
        title = f"{outcome.benchmark}, {len(arms[0].after):,} problems: {than}"
        rows = [(row, row.more) for row in arms]
    each = ["each seed"] if len(arms) > 1 and outcome.runs else []
    columns = ["", "before", "after", *each, "points", "95 % interval", "p"]
    cells = []
    for row, d in rows:
        name = f"all: seeds {row.seeds}" if len(arms) == 1 and row is arms[0] else row.label
        shares = [f"{fmean(one):.1%}" for one in (row.before, row.after)]
        if each:
            shares.append(row.each_seed)
        difference = ["", "", ""]
        if d is not None:
            interval = f"{d.ci_low:+.1f} to {d.ci_high:+.1f}"
            difference = [f"{d.points:+.1f}", interval, p_text(d.p_value)]
        cells.append([name, *shares, *difference])
    return as_table(Grid(title, columns, cells))


def as_table(grid: Grid) -> Table:
    table = Table(title=Text(grid.title), box=SIMPLE, pad_edge=False, title_justify="left")
    for number, column in enumerate(grid.columns):
        justify: Literal["left", "right"] = "right" if number else "left"
        table.add_column(Text(column), justify=justify, overflow="fold")
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table
