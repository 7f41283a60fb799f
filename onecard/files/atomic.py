"""Files and folders that are there whole or not at all, also after a kill or a power cut."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".unfinished"  # the end of the name of what is still being written


def write_atomic(file: Path, content: str | bytes, lasting: bool = True) -> None:
    """Replace a file's content in one step.

    What is not `lasting` may be lost in a power cut; it is written without waiting for the disk.
    """
    unfinished = file.with_name(f"{file.name}{UNFINISHED}")
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    unfinished.write_bytes(content)
    if lasting:
        sync(unfinished)
    unfinished.replace(file)
    if lasting:
        sync(file.parent)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A new folder to fill.

    It takes its name when the block has ended well and all in it is on the disk. Otherwise nothing
    is left of it.
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
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()


def sync(place: Path) -> None:
    """Have the operating system put a file, or a folder's list of names, on the disk now."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
