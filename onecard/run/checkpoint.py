"""Checkpoints on the disk: written atomically, believed only if every file has its hash.

checkpoints/grpo/checkpoint-50/
    adapter/             the LoRA adapter, as PEFT reads it
    model.safetensors    the whole model in its place, in SFT of all weights
    state.json           optimizer, scheduler, scaler, random states and counters
    state.safetensors    the tensors of state.json
    trainer_state.json   transformers' own account of where training stands
    metrics.jsonl        the run's, up to this step
    manifest.json        size and hash of each of the above, what they belong to, and a hash of
                         itself; written last
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onecard.files.atomic import atomic_folder, clear_unfinished
from onecard.files.formats import write_json
from onecard.types import UserError

# 4: adapters in 32 bit. 3: random states of every process. 2: a folder for each stage, and the
# states of scorers.
FORMAT = 4
MANIFEST = "manifest.json"
ADAPTER, MODEL = "adapter", "model.safetensors"
STATE, TENSORS = "state.json", "state.safetensors"
TRAINER_STATE, METRICS = "trainer_state.json", "metrics.jsonl"
DAMAGED = ".damaged"  # the end of the name of a checkpoint that was not believed


class Damaged(ValueError):
    """A checkpoint that is not as it was written: what is wrong with which file."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose every file was verified.

    `origin`: what it belongs to (recipe, data, versions, stage), and whether training ended early
    there. `last`: there is nothing left to train after it.
    """

    folder: Path
    step: int
    origin: dict[str, Any]
    last: bool = False


@contextmanager
def new_checkpoint(root: Path, step: int, origin: dict[str, Any]) -> Iterator[Path]:
    """A folder to fill. It gets its manifest and its name when the block has ended well."""
    with atomic_folder(root / f"checkpoint-{step}") as folder:
        yield folder
        files = {
            str(file.relative_to(folder)): describe(file)
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }
        manifest = {
            "format": FORMAT,
            "step": step,
            "origin": json.loads(json.dumps(origin)),
            "files": files,
        }
        write_json(folder / MANIFEST, manifest | {"sha256": hash_of(manifest)})


def describe(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}


def hash_of(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def read_checkpoint(folder: Path) -> Checkpoint:
    """A checkpoint with every file held against the manifest.

    Raises Damaged; UserError where this process cannot read it, or another version wrote it.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest.pop("sha256") != hash_of(manifest):
            raise Damaged(f"{MANIFEST} is not as it was written")
        if manifest["format"] != FORMAT:
            raise UserError(
                f"{folder} has format {manifest['format']}, and this version reads {FORMAT}: it"
                " was written by another one"
            )
        for name, expected in manifest["files"].items():
            if not (folder / name).is_file():
                raise Damaged(f"{name} is missing")
            if describe(folder / name) != expected:
                raise Damaged(f"{name} is not as it was written")
        return Checkpoint(folder, manifest["step"], manifest["origin"])
    except FileNotFoundError:
        raise Damaged(f"{MANIFEST} is missing") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}: {error.filename}") from None
    except (Damaged, UserError):
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{MANIFEST} cannot be read: {type(error).__name__}") from None


def find_checkpoints(root: Path) -> list[Path]:
    """The folders of finished checkpoints, verified or not, newest first."""
    named = []
    for folder in root.glob("checkpoint-*"):
        if match := re.fullmatch(r"checkpoint-(\d+)", folder.name):
            named.append((int(match[1]), folder))
    return [folder for _, folder in sorted(named, reverse=True)]


def newest_checkpoint(
    root: Path, say: Callable[[str], None], first: bool = True
) -> Checkpoint | None:
    """The newest checkpoint that verifies; others are told, and put aside under another name.

    `first`: whether this is the first process of a run, which alone does that.
    """
    for folder in find_checkpoints(root):
        try:
            return read_checkpoint(folder)
        except Damaged as error:
            if not first:
                continue
            aside = folder.with_name(f"{folder.name}{DAMAGED}")
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            say(
                f"{folder} is damaged ({error}); it is now {aside.name}, and the one before it is"
                " used"
            )
    return None


def prune(root: Path, keep: int, best: int | None) -> None:
    """Remove all checkpoints but the newest `keep` and the one of step `best`.

    And what killed processes left half-written.
    """
    for folder in find_checkpoints(root)[keep:]:
        if folder.name != f"checkpoint-{best}":
            shutil.rmtree(folder)
    clear_unfinished(root)
