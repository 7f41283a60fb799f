"""Every task of rewards/README.md's table runs on a laptop, with the command that it names."""

import json
import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT, run_train
from walls import marked_where

pytestmark = pytest.mark.e2e
ROW = re.compile(r"^\| (?P<task>[\w ]+) \|.*?`python train.py recipes/(?P<command>[^`]+)`", re.M)
SHORT = ("sft.max_steps=20", "grpo.max_steps=2", "pilot=0", "eval.limit=8", "save.every_steps=2")
README = (ROOT / "rewards/README.md").read_text(encoding="utf-8")
TASKS = {found["task"]: found["command"] for found in ROW.finditer(README)}


def test_the_table_has_the_tasks() -> None:
    assert set(TASKS) == {"mathematics", "code", "logic", "facts", "several objectives"}


@pytest.mark.parametrize("task", marked_where("code".__eq__, sorted(set(TASKS) - {"mathematics"})))
def test_a_task_runs(task: str, tmp_path: Path) -> None:
    """But for mathematics, which most other tests run."""
    recipe, *options = shlex.split(TASKS[task])
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    settings = [option for option in options if option != "--set"]
    done = run_train(tmp_path, recipe.removesuffix(".yaml"), *settings, *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert results["benchmarks"]
