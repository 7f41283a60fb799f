"""The folder that an export is written to: afterwards it is there whole, or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onecard.runs import who_may_write
from onecard.types import UserError


def check_new(folder: Path) -> None:
    """Raise UserError where something is in the way. Asked before anything that takes time."""
    if folder.exists():
        raise UserError(f"{folder} exists already; remove it, or choose another place with --out")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` at the end; after an error, or Ctrl-C, nothing is left of it."""
    check_new(folder)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    try:
        if unfinished.exists():  # of an export that was killed
            shutil.rmtree(unfinished)
        unfinished.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}{who_may_write(folder)}") from None
    try:
        yield unfinished
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
