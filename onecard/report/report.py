"""report.md and report.html. Every number comes from files in the run folder."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eval.scores import p_text
from onecard.console.text import fenced
from onecard.files.formats import read_jsonl
from onecard.report.curves import CURVES, draw
from onecard.report.reading import examples, read_facts

TEMPLATES = Path(__file__).parent / "templates"
# What the model wrote may look like HTML: there it is escaped.
REPORTS = (("report.md", False), ("report.html", True))


def write_report(folder: Path) -> None:
    """Write report.md, report.html (one file, nothing fetched) and curves/*.svg."""
    facts = read_facts(folder)
    metrics = read_jsonl(folder / "metrics.jsonl")
    (folder / "curves").mkdir(exist_ok=True)
    curves = {}
    for name, (title, series, unit) in CURVES.items():
        if svg := draw(metrics, title, series, unit):
            curves[name] = svg
            (folder / "curves" / f"{name}.svg").write_text(svg, encoding="utf-8")
    titles = {name: title for name, (title, _, _) in CURVES.items()}
    for file, escape in REPORTS:
        jinja = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=escape,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        jinja.filters |= {"examples": examples, "fenced": fenced, "p_text": p_text}
        template = jinja.get_template(f"{file}.j2")
        text = template.render(**facts, curves=curves, titles=titles)
        (folder / file).write_text(text, encoding="utf-8")
