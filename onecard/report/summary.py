"""The table that ends a run on the terminal."""

from pathlib import Path
from shlex import quote
from typing import Any

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table
from rich.text import Text

from eval.scores import p_text
from onecard.report.reading import read_facts


def summary(folder: Path) -> Group:
    """Accuracy before and after with its difference; then what to know, and where things are."""
    facts = read_facts(folder)
    lines = [facts["recipe"]["caveat"] + "\n"] if facts["recipe"]["caveat"] else []
    if facts["alarms"] is not None:
        # A note is an explanation, and no fault.
        names = [alarm["name"] for alarm in facts["alarms"] if alarm["level"] != "note"]
        lines.append(named("health", ", ".join(dict.fromkeys(names)) or "no alarm"))
    for alarm in facts["alarms"] or ():
        if alarm["name"] == "benchmark_worse":
            lines.append(named("worse", f"{alarm['metric']}: {alarm['value']:+.3g}"))
    lines.append(named("report", folder / "report.html"))
    lines.append(named("numbers", folder / "results.json"))
    lines.append(named("adapter", folder / "adapter"))
    lines.append(named("curves", f"tensorboard --logdir {quote(str(folder / 'tensorboard'))}"))
    for label, fact in (("pace", facts["split"]), ("memory", facts["card"])):
        if fact:
            lines.append(named(label, fact))
    return Group(accuracies(facts), *map(Text, lines))


def named(label: str, value: object) -> str:
    return f"{label:<12}{value}"


def accuracies(facts: dict[str, Any]) -> Table:
    """A row for each accuracy of each benchmark, and how the completions changed."""
    table = Table(
        title=f"{facts['recipe']['name']}: greedy, on problems not trained on",
        box=SIMPLE,
        pad_edge=False,
        title_justify="left",
    )
    for column in ("benchmark", "n", "before", "after", "points", "95 % interval", "p"):
        table.add_column(column, justify="left" if column == "benchmark" else "right", no_wrap=True)
    for name, found in facts["results"]["benchmarks"].items():
        before, after = found["before"], found["after"]
        rows = [(name, "accuracy", found["difference"])]
        if facts["kinds"][name] == "number":  # the harness looks for one
            rows.append(("  flexible", "flexible", found["flexible_difference"]))
        for label, score, difference in rows:
            table.add_row(
                label,
                str(found["n"]),
                f"{before[score]:.1%}",
                f"{after[score]:.1%}",
                f"{difference['points']:+.1f}",
                f"{difference['ci_low']:+.1f} to {difference['ci_high']:+.1f}",
                p_text(difference["p_value"]),
            )
        if changed := found.get("score_difference"):
            table.add_row(
                f"  {facts['recipe']['eval']['score']}",
                "",
                f"{before['score']:.3f}",
                f"{after['score']:.3f}",
                f"{changed['mean']:+.3f}",
                f"{changed['ci_low']:+.3f} to {changed['ci_high']:+.3f}",
                p_text(changed["p_value"]),
            )
        steps = (f"{side['step_by_step']:.1%}" for side in (before, after))
        table.add_row("  step by step", "", *steps)
        tokens = (f"{side['mean_tokens']:.1f}" for side in (before, after))
        table.add_row("  mean tokens", "", *tokens, end_section=True)
    return table
