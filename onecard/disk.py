"""Atomic writes: files and folders that are there whole or not at all, also after a kill or a power
cut. And JSON lines.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from onecard.types import UserError

UNFINISHED = ".unfinished"  # the end of the name of what is still being written
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
TROUBLE = {errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM}


def read_jsonl(file: Path) -> list[Any]:
    """The rows of a JSON-lines file. Lines end at \\n alone: U+2028 may stand inside a question."""
    if not file.is_file():
        raise UserError(f"no file {file}")
    rows = []
    for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except (
                ValueError,
                RecursionError,
            ) as error:  # broken JSON, bytes that are not UTF-8, brackets without end
                raise UserError(f"{file}, line {number}: not JSON: {error}") from None
    return rows


def write_json(file: Path, content: Any) -> None:
    write_atomic(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(file: Path, rows: Iterable[Any]) -> None:
    write_atomic(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_yaml(file: Path, content: Any) -> None:
    write_atomic(file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def write_atomic(file: Path, content: str | bytes) -> None:
    """Replace a file's content in one step."""
    unfinished = file.with_name(f"{file.name}{UNFINISHED}")
    unfinished.write_bytes(
        content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    )
    sync(unfinished)
    unfinished.replace(file)
    sync(file.parent)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A new folder to fill. It takes its name when the block has ended well and all in it is on the
    disk; else nothing is left of it.
    """
    unfinished = folder.with_name(f"{folder.name}{UNFINISHED}")
    shutil.rmtree(unfinished, ignore_errors=True)  # what a killed process left
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        for place in [*unfinished.rglob("*"), unfinished]:
            sync(place)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    sync(folder.parent)


def clear_unfinished(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder."""
    for place in folder.glob(f"*{UNFINISHED}"):
        shutil.rmtree(place) if place.is_dir() else place.unlink()


def sync(place: Path) -> None:
    """Have the operating system put a file or a folder's list of names on the disk now."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_trouble(error: BaseException, folder: Path) -> str | None:
    """What is wrong with the disk or with `folder`, where an exception is about that; libraries in
    Rust tell it in their text alone.
    """
    if isinstance(error, OSError):
        ours = error.filename is not None and Path(
            os.fsdecode(error.filename)
        ).absolute().is_relative_to(folder.absolute())
        told = error.errno if error.errno in FULL or (error.errno in TROUBLE and ours) else None
        where = f": {error.filename}" if error.filename else ""
    else:
        found = re.search(r"\(os error (\d+)\)|\bOs \{ code: (\d+), kind:", str(error))
        told, where = int(found[1] or found[2]) if found else None, ""
        told = told if told in FULL | TROUBLE else None
    return f"{os.strerror(told)}{where}" if told else None
