"""The run folder: where everything that one run makes is found afterwards."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from onecard.recipe import Recipe
from onecard.types import FOLDER_NAME, UserError

PACKAGES = ("unsloth", "unsloth_zoo", "trl", "transformers", "peft", "bitsandbytes", "torch", "datasets", "tensorboard")


@dataclass(frozen=True)
class Run:
    """runs/<name>/ and the seconds that each phase took."""

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)

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

    def evaluation(self, benchmark: str, when: str) -> Path:
        """The folder of one evaluation: `when` is before, after or step-N."""
        return self.folder / "eval" / f"{benchmark}-{when}"

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is inside as one phase of the run."""
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 2)

    def discard(self) -> None:
        """Remove the folder of a run that stopped over bad input before its first metric."""
        if not self.metrics.exists():
            shutil.rmtree(self.folder)


def open_run(recipe: Recipe, root: Path, name: str | None) -> Run:
    """Make the run folder with recipe.resolved.yaml and environment.json.

    Named `name`, which must be new, or else after the recipe: tiny, tiny-2, tiny-3 ...
    """
    if name is None:
        name = next(n for i in count(1) if not (root / (n := recipe.name if i == 1 else f"{recipe.name}-{i}")).exists())
    elif not re.match(FOLDER_NAME, name):
        raise UserError(f"--name {name}: wanted a plain folder name of letters, digits, '.', '_' and '-'")
    folder = root / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UserError(f"--name {name}: {folder} exists already; choose another name or remove that folder") from None
    except OSError as error:
        raise UserError(f"cannot make the run folder {folder}: {error.strerror}{who_may_write(root)}") from None
    run = Run(folder)
    write_yaml(folder / "recipe.resolved.yaml", recipe.model_dump(mode="json"))
    write_json(folder / "environment.json", environment())
    return run


def who_may_write(folder: Path) -> str:
    """What to type where a folder, such as one that Docker mounted, belongs to somebody else; "" where that is not the matter."""
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if os.access(there, os.W_OK):
        return ""
    owner, me = there.stat().st_uid, os.getuid()
    return (
        f"; {there} belongs to user {owner} and this is user {me}. On the host: sudo chown -R {me} FOLDER (the one mounted there), "
        f"or start the container with --user {owner if owner else '$(id -u)'}"
    )


def environment() -> dict[str, Any]:
    """What the run ran on: versions, platform, the code's commit."""
    command = ["git", "describe", "--always", "--dirty"]
    git = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False) if shutil.which("git") else None
    return {
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": (git and git.stdout.strip()) or None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def write_json(file: Path, content: Any) -> None:
    write_whole(file, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(file: Path, rows: Iterable[Any]) -> None:
    write_whole(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_yaml(file: Path, content: Any) -> None:
    write_whole(file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def write_whole(file: Path, text: str) -> None:
    """Write a text file so that it is there whole or, after a kill, not at all."""
    unfinished = file.with_name(f"{file.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8", errors="surrogatepass")
    unfinished.replace(file)
