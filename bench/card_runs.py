"""The runs of bench/card.py, each cut off when its part's time is over, and what they found."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.card_page import text
from onecard.files.atomic import write_atomic
from onecard.files.formats import read_jsonl, write_json
from onecard.report.steps import split_steps

ROOT = Path(__file__).parent.parent


class OutOfTime(Exception):
    """A part took longer than it may."""


@dataclass
class Bench:
    """Where it works, and what it has found: `found[part]` by the part's name."""

    out: Path
    work: Path
    model: Path | None
    rows: Path | None
    found: dict[str, Any] = field(default_factory=dict)
    part: str = ""
    deadline: float = 0.0
    vllm: bool = False

    @property
    def engine(self) -> str:
        """What is set in every recipe."""
        return f"model.fast_inference={str(self.vllm).lower()}"

    @contextmanager
    def measuring(self, part: str, seconds: int) -> Iterator[None]:
        """A part. What it found is kept however it ends."""
        self.part, self.deadline = part, time.monotonic() + seconds
        started = time.monotonic()
        self.found.pop(part, None)  # of an earlier try
        (self.out / f"{part}.log").unlink(missing_ok=True)
        print(f"{part}: {seconds} s at most", flush=True)
        try:
            yield
        except OutOfTime:
            self.add(cut_after=seconds)
        except (subprocess.CalledProcessError, OSError, KeyError, ValueError) as error:
            self.add(failed=f"{type(error).__name__}: {error}")
        finally:
            self.add(wall_seconds=round(time.monotonic() - started, 1))

    def add(self, **facts: Any) -> None:
        """Facts of the part that is measured; on the disk before this returns."""
        self.found[self.part] = self.found.get(self.part, {}) | facts
        write_json(self.out / "card.json", self.found)
        write_atomic(self.out / "card.md", text(self.found))

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """A Python process of its own group, whose output goes to the part's log."""
        with (self.out / f"{self.part}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=self.work,
                env=os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def call(self, *command: str) -> None:
        """Raises OutOfTime, or CalledProcessError where the process failed."""
        process = self.start(*command)
        try:
            code = process.wait(timeout=max(1.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise OutOfTime from None
        finally:
            kill(process)
        if code:
            raise subprocess.CalledProcessError(code, command[0])

    def train(self, recipe: str, name: str, settings: Sequence[str], *more: str) -> Path:
        """A run, whose facts are added even where it is cut off."""
        run = self.work / "runs" / name
        if not more:  # of an earlier try
            shutil.rmtree(run, ignore_errors=True)
        try:
            self.call(*training(recipe, name, settings), *more)
        finally:
            self.add(**{name: facts_of(run)})
        return run


def training(recipe: str, name: str, settings: Sequence[str]) -> list[str]:
    """The command line of a run, after the word python."""
    asked = [str(ROOT / f"recipes/{recipe}.yaml"), "--name", name, *set_options(settings)]
    return [str(ROOT / "train.py"), *asked]


def set_options(settings: Sequence[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def kill(process: "subprocess.Popen[bytes]") -> None:
    """End a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def facts_of(run: Path) -> dict[str, Any]:
    """What a run has measured, finished or not."""
    lines = read_jsonl(run / "metrics.jsonl") if (run / "metrics.jsonl").is_file() else []
    steps = [line for line in lines if "reward" in line]
    split = split_steps(lines)
    facts: dict[str, Any] = {"steps": len(steps), "seconds_per_step": split and asdict(split)}
    facts["rewards"] = [step["reward"] for step in steps]
    if (run / "results.json").is_file():
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
        facts |= {name: results[name] for name in ("card", "seconds", "benchmarks")}
    return facts
