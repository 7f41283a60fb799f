"""report.md and report.html. Every number comes from files in the run folder."""

import json
from pathlib import Path

from onecard.files.formats import read_jsonl
from onecard.report.curves import curves_of, reliability
from onecard.report.problems import draw_problems, read_problems
from onecard.report.reading import read_facts
from onecard.report.rendering import render


def write_report(folder: Path) -> None:
    """Write report.md, report.html (one file, nothing fetched) and curves/*.svg."""
    facts = read_facts(folder)
    curves = draw_all(folder, facts["recipe"]["stages"])
    for name, (_, svg) in curves.items():
        (folder / "curves").mkdir(exist_ok=True)
        (folder / "curves" / f"{name}.svg").write_text(svg, encoding="utf-8")
    for file in ("report.md", "report.html"):
        (folder / file).write_text(render(file, **facts, curves=curves), encoding="utf-8")


def draw_all(folder: Path, stages: list[str]) -> dict[str, tuple[str, str]]:
    """The charts of a run's stages by name, each with its title: those of the last stage first."""
    *before, last = stages
    metrics = folder / "metrics.jsonl"
    found = curves_of(last, read_jsonl(metrics, unfinished=True)) if metrics.is_file() else {}
    for stage in before:
        file = folder / f"{stage}.jsonl"
        if not file.is_file():
            continue
        for name, chart in curves_of(stage, read_jsonl(file, unfinished=True), named=True).items():
            found[f"{stage}-{name}"] = chart
    if last == "grpo":
        lines = read_jsonl(metrics, unfinished=True) if metrics.is_file() else []
        found |= draw_problems(read_problems(folder), lines)
    ranker = folder / "reward-model.json"
    if ranker.is_file():
        found["reliability"] = reliability(json.loads(ranker.read_text(encoding="utf-8")))
    return found
