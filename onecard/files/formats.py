"""JSON, JSON lines and YAML: read with the line of what is broken, written in one step."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from onecard.files.atomic import write_atomic
from onecard.files.encoding import read_text
from onecard.types import UserError


def read_jsonl(file: Path, unfinished: bool = False) -> list[Any]:
    """The rows of a JSON-lines file. Raises UserError with the line that is not JSON.

    Lines end at \\n alone: the line separator U+2028 may stand inside a question. `unfinished`: a
    last line without an end is being written, or was cut; it is left out.
    """
    rows = []
    text = read_text(file)
    if unfinished:
        text = text[: text.rfind("\n") + 1]
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        # Broken JSON, brackets without end.
        except (ValueError, RecursionError) as error:
            raise UserError(f"{file}, line {number}: not JSON: {error}") from None
    return rows


def write_json(file: Path, content: Any) -> None:
    write_atomic(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(file: Path, rows: Iterable[Any]) -> None:
    write_atomic(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def append_jsonl(file: Path, rows: Iterable[Any]) -> None:
    """Add rows, on the disk before this returns. Of the last line a kill may leave a part."""
    with file.open("a", encoding="ascii") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)
        lines.flush()
        os.fsync(lines.fileno())


def whole_lines(file: Path) -> bytes:
    """What append_jsonl has written, without a last line that was cut."""
    content = file.read_bytes()
    return content[: content.rfind(b"\n") + 1]


def write_yaml(file: Path, content: Any) -> None:
    write_atomic(file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
