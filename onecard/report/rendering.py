"""The templates of this room, filled."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eval.scores import p_text
from onecard.console.text import fenced
from onecard.report.curves import title_of
from onecard.report.reading import examples

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **facts: Any) -> str:
    """templates/<template>.j2 with `facts`.

    What a model wrote may look like HTML: in a page it is escaped.
    """
    jinja = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html"),
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
    return jinja.get_template(f"{template}.j2").render(**facts)
