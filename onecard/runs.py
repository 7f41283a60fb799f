"""The run folder: where everything that one run makes is found afterwards."""

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from onecard.files.formats import write_json, write_yaml
from onecard.machine.packages import versions
from onecard.recipe import Recipe
from onecard.types import FOLDER_NAME, UserError


@dataclass
class Run:
    """runs/<name>/, locked for this process, and the seconds that each phase took, in an
    interrupted run before too.
    """

    folder: Path
    lock: IO[str]
    resumed: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    begun: tuple[str, float] | None = None  # the phase under way, and when it was last noted
    noting: threading.Lock = field(default_factory=threading.Lock)  # two threads do

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def health(self) -> Path:
        """One line per alarm, as it began."""
        return self.folder / "health.jsonl"

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def recipe(self) -> Path:
        return self.folder / "recipe.resolved.yaml"

    @property
    def environment(self) -> Path:
        return self.folder / "environment.json"

    @property
    def pilot(self) -> Path:
        return self.folder / "pilot.json"

    @property
    def seconds_file(self) -> Path:
        return self.folder / "seconds.json"

    def evaluation(self, benchmark: str, when: str) -> Path:
        """The folder of one evaluation: `when` is before, after or step-N."""
        return self.folder / "eval" / f"{benchmark}-{when}"

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is inside as one phase of the run."""
        self.begun = (name, time.monotonic())
        yield
        self.note_seconds()
        self.begun = None

    def note_seconds(self) -> None:
        """Write down the seconds of each phase until now, so that a run that is killed later still
        counts them.
        """
        with self.noting:
            if self.begun:
                name, since = self.begun
                self.begun = (name, time.monotonic())
                self.seconds[name] = round(self.seconds.get(name, 0.0) + self.begun[1] - since, 2)
            write_json(self.seconds_file, self.seconds)

    def discard(self) -> None:
        """Remove the folder of a new run that stopped over bad input before its first metric."""
        if not self.resumed and not self.metrics.exists():
            shutil.rmtree(self.folder)


def open_run(recipe: Recipe, root: Path, name: str | None) -> Run:
    """Make the run folder, named `name` or else after the recipe, with recipe.resolved.yaml and
    environment.json.
    """
    folder = folder_of(recipe, root, name)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UserError(
            f"{folder} exists already: add --resume to go on with that run, --name NAME to begin"
            " another, or remove the folder"
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot make the run folder {folder}: {error.strerror}{who_may_write(root)}"
        ) from None
    run = Run(folder, lock_folder(folder))
    write_yaml(run.recipe, recipe.model_dump(mode="json"))
    write_json(run.environment, environment())
    return run


def folder_of(recipe: Recipe, root: Path, name: str | None) -> Path:
    if name is not None and not re.match(FOLDER_NAME, name):
        raise UserError(
            f"--name {name}: wanted a plain folder name of letters, digits, '.', '_' and '-'"
        )
    return root / (recipe.name if name is None else name)


def lock_folder(folder: Path) -> IO[str]:
    """Hold a run folder until this process ends, however it ends. Raises UserError where another
    process holds it.
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
    os.register_at_fork(
        after_in_child=lock.close
    )  # else a child that outlives this process would hold it
    return lock


def who_may_write(folder: Path) -> str:
    """What to type where a folder, such as one that Docker mounted, belongs to somebody else; ""
    where that is not the matter.
    """
    there = next(
        parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists()
    )
    if os.access(there, os.W_OK):
        return ""
    owner, me = there.stat().st_uid, os.getuid()
    return (
        f"; {there} belongs to user {owner} and this is user {me}. On the host: sudo chown -R {me}"
        " FOLDER (the one mounted there), or start the container with --user"
        f" {owner if owner else '$(id -u)'}"
    )


def environment() -> dict[str, Any]:
    """What the run ran on: versions, platform, the code's commit. A token that stands in the
    command is not kept.
    """
    command = ["git", "describe", "--always", "--dirty"]
    git = (
        subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
        if shutil.which("git")
        else None
    )
    token = os.environ.get("HF_TOKEN") or "\0"
    return {
        "command": [argument.replace(token, "$HF_TOKEN") for argument in sys.argv],
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": (git and git.stdout.strip()) or None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions(),
    }
