"""report.md and report.html. Every number comes from files in the run folder."""

import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eval.scores import p_text
from onecard.console.text import fenced
from onecard.files.formats import read_jsonl
from onecard.report.curves import curves_of, reliability, title_of
from onecard.report.reading import examples, read_facts

TEMPLATES = Path(__file__).parent / "templates"
# What the model wrote may look like HTML: there it is escaped.
REPORTS = (("report.md", False), ("report.html", True))


def write_report(folder: Path) -> None:
    """Write report.md, report.html (one file, nothing fetched) and curves/*.svg."""
    facts = read_facts(folder)
    curves = draw_all(folder, facts["recipe"]["stages"])
    for name, (_, svg) in curves.items():
        (folder / "curves").mkdir(exist_ok=True)
        (folder / "curves" / f"{name}.svg").write_text(svg, encoding="utf-8")
    for file, escape in REPORTS:
        jinja = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=escape,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        jinja.filters |= {
            "examples": examples,
            "fenced": fenced,
            "p_text": p_text,
            "title_of": title_of,
        }
        template = jinja.get_template(f"{file}.j2")
        text = template.render(**facts, curves=curves)
        (folder / file).write_text(text, encoding="utf-8")


def draw_all(folder: Path, stages: list[str]) -> dict[str, tuple[str, str]]:
    """The charts of a run's stages by name, each with its title: those of the last stage first."""
    *before, last = stages
    found = curves_of(last, read_jsonl(folder / "metrics.jsonl"))
    for stage in before:
        file = folder / f"{stage}.jsonl"
        if not file.is_file():
            continue
        for name, chart in curves_of(stage, read_jsonl(file), named=True).items():
            found[f"{stage}-{name}"] = chart
    ranker = folder / "reward-model.json"
    if ranker.is_file():
        found["reliability"] = reliability(json.loads(ranker.read_text(encoding="utf-8")))
    return found
