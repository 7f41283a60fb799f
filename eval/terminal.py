"""Evaluations at a terminal: the scores of one, two compared, and the completions themselves."""

import os
from pathlib import Path
from shlex import quote
from typing import Any

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from eval.record import read_result
from eval.scores import check_comparable, compare, confusion_text, p_text
from onecard.console.text import visible
from onecard.types import EvalItem, UserError

LABELS = {"accuracy": "accuracy", "strict": "strict (#### n)", "flexible": "flexible (last number)"}
SHARES = {
    "no_answer": "no answer found",
    "truncated": "cut at the token limit",
    "not_asked": "not asked: prompt too long",
    "step_by_step": "two equations or more",
}
WHICH = {
    "wrong": "only those that are wrong (of two: after)",
    "changed": "only those that were fixed or broken",
    "truncated": "only those that were cut at the token limit",
}


def print_scores(folder: Path, console: Console) -> None:
    """The scores of one evaluation, and where it is."""
    facts, _ = read_result(folder)
    found, asked = facts["scores"], facts["sampling"]
    how = (
        f"{facts['prompt']['exemplars']['count']}-shot"
        if facts["prompt"]["exemplars"]["count"]
        else "zero-shot"
    )
    drawn = (
        "greedy"
        if asked["temperature"] == 0
        else f"{asked['samples']} samples a problem at temperature {asked['temperature']:g}"
    )
    table = Table(
        title=Text(f"{facts['benchmark']['name']}, {found['n']:,} problems: {how}, {drawn}"),
        box=SIMPLE,
        pad_edge=False,
        title_justify="left",
    )
    for column in ("", "score", "95 % interval"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    ks = {key: key for key in found if "@" in key and not key.endswith("_ci")}
    labels = LABELS | (
        {"accuracy": f"accuracy, mean@{found['samples']}"} if found["samples"] > 1 else {}
    )
    for key, label in (labels | ks).items():
        low, high = found[f"{key}_ci"]
        table.add_row(label, f"{found[key]:.1%}", f"{low:.1%} to {high:.1%}")
    for key, label in SHARES.items():
        if key != "not_asked" or found[key]:
            table.add_row(label, f"{found[key]:.1%}", "")
    table.add_row("mean length, tokens", f"{found['mean_tokens']:.1f}", "")
    console.print(
        table,
        answered_by(facts),
        Text(f"every completion: python -m eval show {quote(str(folder))}"),
        soft_wrap=True,
        sep="\n",
    )


def answered_by(facts: dict[str, Any]) -> Text:
    """One line: which weights, in which precision, through which engine."""
    model = facts["model"]
    names = [weights["name"] for key in ("base", "adapter") if (weights := model.get(key))]
    return Text(
        f"{' + '.join(names)}; {model['engine']},"
        f" {model.get('dtype')}{', 4-bit' if model.get('load_in_4bit') else ''}"
    )


def print_comparison(one: Path, other: Path, across_templates: bool = False) -> None:
    """The difference of two evaluations of the same problems.

    Raises UserError if they are of others, and says what differs.
    """
    console = Console(highlight=False)
    (facts, before), (other_facts, after) = read_result(one), read_result(other)
    check_comparable(facts, other_facts, across_templates)
    found = compare(before, after)
    table = Table(
        title=Text(f"{before.benchmark}, {found['n']:,} problems"),
        box=SIMPLE,
        pad_edge=False,
        title_justify="left",
    )
    for column in ("", "one", "other", "points", "95 % interval", "p"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    samples = found["before"]["samples"]
    for key, label in (
        LABELS | ({"accuracy": f"accuracy, mean@{samples}"} if samples > 1 else {})
    ).items():
        d = found["difference" if key == "accuracy" else f"{key}_difference"]
        interval = f"{d['ci_low']:+.1f} to {d['ci_high']:+.1f}"
        shares = (f"{found[side][key]:.1%}" for side in ("before", "after"))
        table.add_row(label, *shares, f"{d['points']:+.1f}", interval, p_text(d["p_value"]))
    others = [key for key in found["before"] if "@" in key and not key.endswith("_ci")]
    for key in [
        *others,
        *(
            key
            for key in SHARES
            if key != "not_asked" or found["before"][key] or found["after"][key]
        ),
    ]:
        table.add_row(
            SHARES.get(key, key), f"{found['before'][key]:.1%}", f"{found['after'][key]:.1%}"
        )
    test = "exact McNemar test" if samples == 1 else "sign-flip permutation test"
    right = "" if samples == 1 else " (right: more than half of a problem's completions)"
    lines = [
        Text(f"p: {test}; {confusion_text(found['confusion'])}{right}"),
        *(
            Text(f"{side}: {folder}: ") + answered_by(told)
            for side, folder, told in (("one", one, facts), ("other", other, other_facts))
        ),
    ]
    console.print(table, *lines, soft_wrap=True, sep="\n")


def show(folder: Path, benchmark: str | None, which: str | None) -> None:
    """Page through a run's before beside after, or through one evaluation.

    `which` is a key of WHICH; None shows all.
    """
    console = Console(highlight=False)
    results = [read_result(part)[1] for part in evaluations(folder, benchmark)]
    if benchmark not in (None, results[-1].benchmark):
        raise UserError(
            f"--benchmark {benchmark}: {folder} is an evaluation of {results[-1].benchmark}"
        )
    if which == "changed" and len(results) == 1:
        raise UserError(
            f"--changed compares before and after, and {folder} is one evaluation; name the run"
            " folder"
        )
    chosen = [
        items
        for items in zip(*(result.items for result in results), strict=True)
        if chosen_by(which, items)
    ]
    pages = [page(items) for items in chosen]
    title = (
        f"{len(chosen):,} of {len(results[-1].items):,} completions to"
        f" {results[-1].benchmark}{f', {which}' if which else ''}"
    )
    if console.is_terminal:
        # Our colours. The escapes in a model's text are made visible in page().
        os.environ.setdefault("LESS", "-R")
        with console.pager(styles=True, links=False):
            console.print(Text(title), *pages)
    else:
        console.print(Text(title), *pages)


def evaluations(folder: Path, benchmark: str | None) -> list[Path]:
    """The folders to show: of a run the benchmark's before and after, else the folder itself."""
    if not (folder / "recipe.resolved.yaml").is_file():
        return [folder]
    there = sorted(part.name.removesuffix("-after") for part in (folder / "eval").glob("*-after"))
    name = benchmark or next(iter(there), None)
    if name not in there:
        raise UserError(
            f"{folder} has no finished before and after of {name or 'any benchmark'}; it has:"
            f" {', '.join(there) or 'none'}"
        )
    return [folder / "eval" / f"{name}-{when}" for when in ("before", "after")]


def chosen_by(which: str | None, items: tuple[EvalItem, ...]) -> bool:
    if which == "wrong":
        return not items[-1].correct
    if which == "changed":
        return items[0].correct != items[-1].correct
    if which == "truncated":
        return any(item.truncated for item in items)
    return True


def page(items: tuple[EvalItem, ...]) -> RenderableType:
    """One problem: the question, then each completion with its verdict, all as plain text."""
    first = items[0]
    sample = f", sample {first.sample + 1}" if first.sample else ""
    titles = ("",) if len(items) == 1 else ("before: ", "after: ")
    answers = [
        Panel(
            visible(item.completion),
            title=Text(
                f"{title}{item.verdict.replace('_', ' ')}", style="green" if item.correct else "red"
            ),
            subtitle=visible(
                f"read {item.extracted!r}, {item.tokens} tokens{', cut' if item.truncated else ''}"
            ),
            title_align="left",
            subtitle_align="right",
        )
        for title, item in zip(titles, items, strict=True)
    ]
    columns = Table.grid(expand=True, padding=(0, 1))
    for _ in answers:
        columns.add_column(ratio=1)
    columns.add_row(*answers)
    return Group(
        Rule(Text(f"problem {first.id}{sample}, gold {first.gold}"), align="left"),
        visible(first.question),
        columns,
    )
