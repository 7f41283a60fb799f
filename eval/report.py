"""report.md and report.html, and the table at the end of a run. Every number comes from files in
the run folder.
"""

import io
import json
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table
from rich.text import Text

from eval.record import read_result
from eval.show import p_text
from eval.steps import split_steps
from onecard.console.text import fenced
from onecard.files.formats import read_jsonl
from onecard.types import EvalItem

EXAMPLES = 3  # of each kind
# title, the metrics.jsonl keys drawn, unit of the vertical axis
CURVES = {
    "reward": (
        "Reward per step",
        {"reward": "mean", "rewards/best": "best completion", "rewards/worst": "worst completion"},
        "reward",
    ),
    "accuracy": (
        "Accuracy",
        {"rewards/correct_answer/mean": "training batches, sampled"},
        "share correct",
    ),
    "length": (
        "Completion length",
        {"completions/mean_length": "mean", "completions/max_length": "longest"},
        "tokens",
    ),
    "kl": ("KL from the starting policy", {"kl": "mean per token"}, "nats"),
}


def write_report(folder: Path) -> None:
    """Write report.md, report.html (one file, nothing fetched) and curves/*.svg from what the run
    folder holds.
    """
    facts = read_facts(folder)
    metrics = read_jsonl(folder / "metrics.jsonl")
    (folder / "curves").mkdir(exist_ok=True)
    curves = {name: draw(metrics, *curve) for name, curve in CURVES.items()}
    curves = {name: svg for name, svg in curves.items() if svg}
    for name, svg in curves.items():
        (folder / "curves" / f"{name}.svg").write_text(svg, encoding="utf-8")
    templates = FileSystemLoader(Path(__file__).parent / "templates")
    for file, escape in (
        ("report.md", False),
        ("report.html", True),
    ):  # what the model wrote may look like HTML
        jinja = Environment(
            loader=templates,
            autoescape=escape,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        jinja.filters |= {"examples": examples, "fenced": fenced, "p_text": p_text}
        text = jinja.get_template(f"{file}.j2").render(
            **facts, curves=curves, titles={n: c[0] for n, c in CURVES.items()}
        )
        (folder / file).write_text(text, encoding="utf-8")


def read_facts(folder: Path) -> dict[str, Any]:
    """What both reports and the terminal's table say, by the name that the templates use."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    recipe = yaml.safe_load((folder / "recipe.resolved.yaml").read_text(encoding="utf-8"))
    return {
        "folder": folder,
        "results": results,
        "recipe": recipe,
        "recipe_text": (folder / "recipe.resolved.yaml").read_text(encoding="utf-8"),
        "pilot": (
            json.loads((folder / "pilot.json").read_text(encoding="utf-8"))
            if (folder / "pilot.json").is_file()
            else None
        ),
        "environment": json.loads((folder / "environment.json").read_text(encoding="utf-8")),
        "alarms": (
            read_jsonl(folder / "health.jsonl") if (folder / "health.jsonl").exists() else None
        ),
        "answers": [
            answer for name in results["benchmarks"] for answer in read_answers(folder, name)
        ],
        "split": split_steps(read_jsonl(folder / "metrics.jsonl")),
        "card": card_text(results["card"]),
        "prompts": {
            name: read_result(folder / "eval" / f"{name}-after")[0]["first_prompt"]
            for name in results["benchmarks"]
        },
    }


def card_text(card: dict[str, Any] | None) -> str | None:
    """What each phase of a step took of the card at most, beside what was planned; None without a
    card.
    """
    if card is None:
        return None
    planned = card["planned_gib"] or {}
    phases = [
        f"{phase} {gib:.2f} GiB, "
        + (
            f"{planned[phase]:.2f} planned"
            if phase in planned
            else "no plan, the model's shape is not known"
        )
        for phase, gib in card["measured_gib"].items()
    ]
    told = "; ".join(phases) or "no step was trained"
    return f"Peak memory of the {card['name']} ({card['total_gib']:.2f} GiB), measured: {told}"


def read_answers(folder: Path, benchmark: str) -> list[dict[str, Any]]:
    """Every problem of a benchmark with both completions, and what became of it: fixed, broken,
    still right, still wrong.
    """
    before, after = (
        read_result(folder / "eval" / f"{benchmark}-{when}")[1] for when in ("before", "after")
    )
    return [
        {
            "benchmark": benchmark,
            "id": a.id,
            "question": a.question,
            "gold": a.gold,
            "kind": (
                ("fixed" if a.correct else "broken")
                if a.correct != b.correct
                else "still right"
                if a.correct
                else "still wrong"
            ),
            "before": shown(b),
            "after": shown(a),
        }
        for b, a in zip(before.items, after.items, strict=True)
    ]


def shown(item: EvalItem) -> dict[str, Any]:
    return {
        "text": item.completion,
        "verdict": item.verdict.replace("_", " "),
        "read": item.extracted,
        "tokens": item.tokens,
        "cut": item.truncated,
        "flexible": item.flexible,
    }


def examples(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first few that were fixed, and the first few that were broken."""
    return [
        answer
        for kind in ("fixed", "broken")
        for answer in [a for a in answers if a["kind"] == kind][:EXAMPLES]
    ]


def draw(metrics: list[dict[str, Any]], title: str, series: dict[str, str], unit: str) -> str:
    """One chart as SVG text; "" where the run logged none of its series."""
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    figure = Figure(figsize=(5.2, 2.9), layout="constrained")
    axes = figure.subplots()
    for key, label in series.items():
        points = [(line["step"], line[key]) for line in metrics if line.get(key) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, linewidth=1.4)
    if title == "Accuracy":
        for key in sorted(
            {
                key
                for line in metrics
                for key in line
                if key.startswith("eval/") and key.endswith("/accuracy")
            }
        ):
            points = [(line["step"], line[key]) for line in metrics if line.get(key) is not None]
            axes.plot(
                *zip(*points, strict=True), "o--", label=f"{key.split('/')[1]}, greedy", linewidth=1
            )
        axes.set_ylim(0, 1)
    if not axes.lines:
        return ""
    axes.set(xlabel="GRPO step", ylabel=unit, title=title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def summary(folder: Path) -> Group:
    """The table that ends a run: accuracy before, after, difference, interval, p; then where things
    are.
    """
    facts = read_facts(folder)
    table = Table(
        title=f"{facts['recipe']['name']}: greedy, on problems not trained on",
        box=SIMPLE,
        pad_edge=False,
        title_justify="left",
    )
    for column in ("benchmark", "n", "before", "after", "points", "95 % interval", "p"):
        table.add_column(column, justify="left" if column == "benchmark" else "right", no_wrap=True)
    for name, b in facts["results"]["benchmarks"].items():
        for label, score, d in (
            (name, "accuracy", b["difference"]),
            ("  flexible", "flexible", b["flexible_difference"]),
        ):
            table.add_row(
                label,
                str(b["n"]),
                f"{b['before'][score]:.1%}",
                f"{b['after'][score]:.1%}",
                f"{d['points']:+.1f}",
                f"{d['ci_low']:+.1f} to {d['ci_high']:+.1f}",
                p_text(d["p_value"]),
            )
        table.add_row(
            "  step by step",
            "",
            f"{b['before']['step_by_step']:.1%}",
            f"{b['after']['step_by_step']:.1%}",
        )
        table.add_row(
            "  mean tokens",
            "",
            f"{b['before']['mean_tokens']:.1f}",
            f"{b['after']['mean_tokens']:.1f}",
            end_section=True,
        )
    lines = [
        f"{key:<12}{folder / file}"
        for key, file in (
            ("report", "report.html"),
            ("numbers", "results.json"),
            ("adapter", "adapter"),
        )
    ]
    if facts["alarms"] is not None:  # a note is an explanation, and no fault
        names = dict.fromkeys(
            alarm["name"] for alarm in facts["alarms"] if alarm["level"] != "note"
        )
        lines.insert(0, f"{'health':<12}{', '.join(names) or 'no alarm'}")
    lines.append(f"{'curves':<12}tensorboard --logdir {folder / 'tensorboard'}")
    lines += [
        f"{label:<12}{facts[key]}"
        for label, key in (("pace", "split"), ("memory", "card"))
        if facts[key]
    ]
    if facts["recipe"]["caveat"]:
        lines.insert(0, facts["recipe"]["caveat"] + "\n")
    return Group(table, *map(Text, lines))
