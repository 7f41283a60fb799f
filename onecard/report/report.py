"""report.md and report.html. Every number comes from files in the run folder."""

from pathlib import Path

from onecard.files.formats import read_jsonl
from onecard.report.curves import curves_of, reliability
from onecard.report.problems import Asked, draw_problems
from onecard.report.reading import read_facts, read_rankers
from onecard.report.rendering import render
from onecard.run.folder import REWARD_MODEL


def write_report(folder: Path) -> None:
    """Write report.md, report.html (one file, nothing fetched) and curves/*.svg."""
    facts = read_facts(folder)
    curves = draw_all(folder, facts["recipe"]["stages"], facts["asked"])
    for name, (_, svg) in curves.items():
        (folder / "curves").mkdir(exist_ok=True)
        (folder / "curves" / f"{name}.svg").write_text(svg, encoding="utf-8")
    for file in ("report.md", "report.html"):
        (folder / file).write_text(render(file, **facts, curves=curves), encoding="utf-8")


def draw_all(
    folder: Path, stages: list[str], asked: dict[str, Asked]
) -> dict[str, tuple[str, str]]:
    """The charts of a run's stages by name, each with its title: those of the last stage first.

    `asked`: the problems of training.
    """
    *before, last = stages
    file = folder / "metrics.jsonl"
    metrics = read_jsonl(file, unfinished=True) if file.is_file() else []
    found = curves_of(last, metrics)
    for stage in before:
        file = folder / f"{stage}.jsonl"
        if not file.is_file():
            continue
        for name, chart in curves_of(stage, read_jsonl(file, unfinished=True), named=True).items():
            found[f"{stage}-{name}"] = chart
    if last == "grpo":
        found |= draw_problems(asked, metrics)
    for name, ranker in read_rankers(folder).items():
        found[name.replace(REWARD_MODEL, "reliability")] = reliability(ranker, name)
    return found
