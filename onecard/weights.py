"""Which weights are these? So that an adapter is never put on a base that it was not trained on."""

import hashlib
import json
from pathlib import Path
from typing import Any

from onecard.runs import write_json

BASE_FILE = "base.json"  # beside an adapter: what it was trained on


def identity(weights: str) -> dict[str, Any]:
    """The name of a model, and for one on this disk a hash of all its safetensors files; a hub id has none."""
    files = sorted(Path(weights).glob("*.safetensors")) if Path(weights).is_dir() else []
    if not files:
        return {"name": weights, "sha256": None}
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    return {"name": weights, "sha256": total.hexdigest()}


def write_base(adapter: Path, base: str) -> None:
    """Note beside an adapter which base it was trained on."""
    write_json(adapter / BASE_FILE, identity(base))


def read_base(adapter: Path) -> dict[str, Any] | None:
    """What write_base noted; None for an adapter that something else saved."""
    file = adapter / BASE_FILE
    noted: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    return noted
