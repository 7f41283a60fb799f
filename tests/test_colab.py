"""notebooks/colab.ipynb: its cells run, here on a CPU and with the tiny model."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, variables

NOTEBOOK = json.loads((ROOT / "notebooks/colab.ipynb").read_text(encoding="utf-8"))
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
# IPython itself runs them: ! and % lines are its own. A command that fails stops nothing there.
DRIVER = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell()
for source in json.load(sys.stdin):
    result = shell.run_cell(source)
    if not result.success or shell.user_ns.get("_exit_code"):
        sys.exit(f"this cell failed: {source}")
"""
HERE = """
REPOSITORY = {repository!r}
RECIPE = "recipes/tiny.yaml"
SETTINGS = "--set sft.max_steps=10 --set grpo.max_steps=2 --set eval.limit=8 --set pilot=0"
PYTHON = {python!r}
"""


def tags(cell: dict[str, dict[str, list[str]]]) -> list[str]:
    return cell["metadata"].get("tags", [])


def text(cell: dict[str, list[str]]) -> str:
    return "".join(cell["source"])


@pytest.mark.e2e
def test_every_cell_runs(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    ignored = shutil.ignore_patterns(".git", ".venv*", "runs", "__pycache__", ".*_cache", ".gpu")
    shutil.copytree(ROOT, repository, ignore=ignored)
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run(["git", *identity, *command], cwd=repository, check=True)
    sources = []
    for cell in CELLS:
        if "install" in tags(cell):
            continue  # the packages are there
        here = HERE.format(repository=f"file://{repository}", python=sys.executable)
        sources.append(text(cell) + (here if "parameters" in tags(cell) else ""))
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(sources),
        cwd=tmp_path,
        env=variables("PYTHONPATH") | {"IPYTHONDIR": str(tmp_path / "ipython")},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = tmp_path / "onecard/runs"
    assert (runs / "shipped/results.json").is_file()
    results = json.loads((runs / "mine/results.json").read_text())
    assert "score_difference" in results["benchmarks"]["test"]
    assert (tmp_path / "onecard/adapter.zip").is_file()


@pytest.mark.unit
def test_its_recipe_and_settings_are_a_plan_for_a_card_of_16_gb() -> None:
    parameters = next(cell for cell in CELLS if "parameters" in tags(cell))
    given: dict[str, str] = {}
    exec(text(parameters), given)
    command = [sys.executable, "train.py", given["RECIPE"], *shlex.split(given["SETTINGS"])]
    done = subprocess.run(
        [*command, "--plan"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "model.fast_inference" in given["SETTINGS"]


@pytest.mark.unit
def test_nothing_of_a_run_is_kept_in_it() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CELLS)
