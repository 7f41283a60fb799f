"""A run folder is one process's alone, and may belong to another user."""

import fcntl
import os
from pathlib import Path
from typing import IO

from onecard.types import UserError


def lock_folder(folder: Path) -> IO[str]:
    """Hold a run folder until this process ends, however it ends.

    Raises UserError where another run holds it. Only the first process of a run asks.
    """
    try:
        lock = (folder / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write to {folder}: {error.strerror}{who_may_write(folder)}"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise UserError(
            f"{folder} is in use by process {lock.read() or '?'}; wait for it, or choose another"
            " --name"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    # Else a child that outlives this process would hold it.
    os.register_at_fork(after_in_child=lock.close)
    return lock


def is_at_work(folder: Path) -> bool:
    """Whether a process holds a run folder at this moment."""
    try:
        with (folder / ".lock").open(encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def who_may_write(folder: Path) -> str:
    """What to type where a folder belongs to somebody else, such as one that Docker mounted.

    "" where that is not what is wrong.
    """
    parents = (folder.absolute(), *folder.absolute().parents)
    there = next(parent for parent in parents if parent.exists())
    if os.access(there, os.W_OK):
        return ""
    owner, me = there.stat().st_uid, os.getuid()
    return (
        f"; {there} belongs to user {owner} and this is user {me}. On the host: sudo chown -R"
        f" {me} FOLDER (the one mounted there), or start the container with --user"
        f" {owner if owner else '$(id -u)'}"
    )
