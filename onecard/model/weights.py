"""Which weights are these? So that an adapter is never put on a base it was not trained on."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from onecard.files.formats import write_json
from onecard.model.chat_template import ChatSettings
from onecard.types import UserError

BASE_FILE = "base.json"  # beside an adapter: what it was trained on
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True)
class Weights:
    """What an engine loads: a base, and an adapter on it or none.

    `trusted`: whether Python files that the base brings along may be run. `as_trained`: they
    compute in the precision of training, also where they are stored in another.
    `chat`: the chat template, as the recipe's model says it.
    """

    base: str
    adapter: Path | None = None
    trusted: bool = False
    as_trained: bool = False
    chat: ChatSettings = field(default_factory=ChatSettings)

    def description(self) -> dict[str, Any]:
        return {
            "base": identity(self.base),
            "adapter": identity(str(self.adapter)) if self.adapter else None,
        }


@cache  # a process loads weights once, and several gigabytes take seconds to hash
def identity(weights: str) -> dict[str, Any]:
    """The name of a model, and for one on this disk a hash of all its safetensors files."""
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
    """What write_base noted; None for an adapter that something else saved.

    Raises UserError where the note is damaged.
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


def named_base(adapter: Path) -> str:
    """The base model that an adapter's config names. Raises UserError where it names none."""
    try:
        config = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        base = config["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        base = None
    if not base:
        raise UserError(
            f"{adapter}/{ADAPTER_CONFIG} names no base model (base_model_name_or_path), so it is"
            " not a LoRA adapter"
        )
    return str(base)


def check_adapter(adapter: Path, base: str) -> None:
    """Raise UserError unless the adapter is there and was trained on this base.

    By the hash of the base's weights that was noted when it was saved, if there is one on both
    sides; else by the names alone.
    """
    if not (adapter / ADAPTER_WEIGHTS).is_file() or not (adapter / ADAPTER_CONFIG).is_file():
        raise UserError(
            f"{adapter} has no {ADAPTER_WEIGHTS} and {ADAPTER_CONFIG}, so it is not an adapter"
        )
    noted = read_base(adapter) or {"name": named_base(adapter), "sha256": None}
    here = identity(base)
    if noted["sha256"] and here["sha256"]:
        if noted["sha256"] != here["sha256"]:
            raise UserError(
                f"{adapter} was trained on another base model: on {noted['name']}, and this is"
                f" {base} with other weights"
            )
    elif plain_name(noted["name"]) != plain_name(base):
        raise UserError(
            f"{adapter} was trained on another base model by its name: on {noted['name']}, and"
            f" this is {base}. If they are the same, write this one's name into the adapter's"
            f" {ADAPTER_CONFIG} as base_model_name_or_path"
        )


def plain_name(model: str) -> str:
    """A model's name without its owner, and without what quantized copies append to it."""
    return re.sub(r"(-unsloth)?-bnb-4bit$", "", Path(model).name.lower())


def make_readable(folder: Path) -> None:
    """Let every user read a saved model.

    save_pretrained makes weights with mode 0600: another user is told "No such file".
    """
    for file in folder.iterdir():
        file.chmod(0o644)
