"""Runs of train.py that several tests look at, each made once, as a person makes them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run_train(cwd: Path, recipe: str, *settings: str, name: str | None = None) -> subprocess.CompletedProcess[str]:
    """recipes/<recipe>.yaml with `settings`, in a process of its own, with `cwd` as the folder that gets runs/; offline."""
    options = [part for setting in settings for part in ("--set", setting)] + (["--name", name] if name else [])
    command = [sys.executable, str(ROOT / "train.py"), str(ROOT / f"recipes/{recipe}.yaml"), *options]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="session")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The tiny recipe, cut short: its run folder and what it printed."""
    cwd = tmp_path_factory.mktemp("short")
    settings = ("warmup.max_steps=40", "grpo.max_steps=4", "eval.limit=48", "data.train_problems=600", "save.every_steps=2")
    done = run_train(cwd, "tiny", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return cwd / "runs/tiny", done.stdout
