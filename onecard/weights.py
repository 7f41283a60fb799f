"""Which weights are these? So that an adapter is never put on a base that it was not trained on."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from onecard.files.formats import write_json
from onecard.types import UserError

BASE_FILE = "base.json"  # beside an adapter: what it was trained on


@cache  # a process loads weights once, and several gigabytes take seconds to hash
def identity(weights: str) -> dict[str, Any]:
    """The name of a model, and for one on this disk a hash of all its safetensors files; a hub id
    has none.
    """
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
    """What write_base noted; None for an adapter that something else saved. Raises UserError where
    the note is damaged.
    """
    file = adapter / BASE_FILE
    if not file.is_file():
        return None
    try:
        noted = json.loads(file.read_text(encoding="utf-8"))
        return {"name": str(noted["name"]), "sha256": noted["sha256"]}
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{file} is damaged; remove it, and the adapter's base is told by its name alone"
        ) from None


def make_readable(folder: Path) -> None:
    """Let every user read a saved model: save_pretrained makes weights 0600, which shows as 'No
    such file' to another user.
    """
    for file in folder.iterdir():
        file.chmod(0o644)
