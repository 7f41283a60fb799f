"""Quick runs of train.py that harm can be done to."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import ROOT, run_train

STEPS = 8
QUICK = (
    "sft=null",
    "pilot=4",
    "eval.limit=8",
    "eval.benchmarks=[tiny]",
    "eval.every_steps=2",
    "eval.dev_problems=8",
    f"grpo.max_steps={STEPS}",
    "save.every_steps=2",
    "grpo.per_device_train_batch_size=32",
    "data.train_problems=12",
)


class Bench:
    """A folder with runs/, and the settings of its quick runs."""

    def __init__(self, cwd: Path, model: Path) -> None:
        self.cwd, self.settings = cwd, (f"model.name={model}", *QUICK)

    def run(
        self, name: str, *settings: str, resume: bool = False, anyway: bool = False, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        extra = (*(("--resume",) if resume else ()), *(("--resume-anyway",) if anyway else ()))
        return run_train(
            self.cwd, "tiny", *self.settings, *settings, name=name, extra=extra, **options
        )

    def start(
        self,
        name: str,
        *settings: str,
        resume: bool = False,
        code: str = "train.main()",
        recipe: str = "tiny",
    ) -> "subprocess.Popen[str]":
        """The same, not waited for; `code` may do harm before it calls train.main()."""
        options = [part for setting in (*self.settings, *settings) for part in ("--set", setting)]
        python = (
            f"import sys; import onecard.model.load, train; sys.argv[0] = 'train.py'; {code}"
            if code != "train.main()"
            else ""
        )
        command = [
            sys.executable,
            *(("-c", python) if python else (str(ROOT / "train.py"),)),
            str(ROOT / f"recipes/{recipe}.yaml"),
        ]
        command += [*options, "--name", name, *(("--resume",) if resume else ())]
        environment = os.environ | {
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "120",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        return subprocess.Popen(
            command,
            cwd=self.cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def folder(self, name: str) -> Path:
        return self.cwd / "runs" / name

    def checkpoints(self, name: str) -> Path:
        return self.folder(name) / "checkpoints/grpo"

    def step(self, name: str) -> int:
        """The last step that metrics.jsonl tells of; 0 without one."""
        file = self.folder(name) / "metrics.jsonl"
        return max(
            [
                0,
                *(
                    int(step)
                    for step in re.findall(
                        r'^\{"step": (\d+)',
                        file.read_text() if file.is_file() else "",
                        re.MULTILINE,
                    )
                ),
            ]
        )

    def outcome(self, name: str) -> tuple[bytes, list[dict[str, Any]]]:
        """What must not depend on interruptions: the adapter's bytes, and every metric but the
        times.
        """
        lines = [
            json.loads(line)
            for line in (self.folder(name) / "metrics.jsonl").read_text().splitlines()
        ]
        times = ("step_time", "time/", "memory/")
        metrics = [
            {key: value for key, value in line.items() if not key.startswith(times)}
            for line in lines
        ]
        return (self.folder(name) / "adapter/adapter_model.safetensors").read_bytes(), metrics


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
