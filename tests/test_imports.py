"""The import rules of the house: what must stay light, and who alone may touch the heavy
packages.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent
FILES = [
    ROOT / "train.py",
    *(
        file
        for folder in ("onecard", "rewards", "eval")
        for file in sorted((ROOT / folder).rglob("*.py"))
    ),
]


def imported(file: Path) -> set[str]:
    """The top-level names that a file imports anywhere in it, `if TYPE_CHECKING:` aside."""
    tree = ast.parse(file.read_text())
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if node not in typing_only:
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize(
    ("package", "owner"), [("unsloth", "onecard/policy.py"), ("trl", "onecard/trainer.py")]
)
def test_one_file_owns_each_trainer_package(package: str, owner: str) -> None:
    assert [str(file.relative_to(ROOT)) for file in FILES if package in imported(file)] == [owner]


def test_nobody_imports_train() -> None:
    assert [file for file in FILES if "train" in imported(file)] == []


def test_no_module_is_written_import_eval() -> None:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            assert not (
                isinstance(node, ast.Import) and any(alias.name == "eval" for alias in node.names)
            ), file


@pytest.mark.parametrize(
    "module",
    [
        "onecard.types",
        "onecard.recipe",
        "onecard.plan",
        "onecard.grpo",
        "onecard.data.samples",
        "onecard.data.problems",
        "onecard.runs",
        "onecard.console.display",
        "rewards",
        "rewards.answer",
        "rewards.format",
        "eval.benchmarks",
        "eval.task",
        "eval.target",
        "eval.record",
        "eval.results",
        "eval.show",
        "eval.steps",
        "eval.__main__",
        "onecard.card.memory",
        "onecard.machine.models",
        "onecard.card.pace",
        "onecard.machine.gpu",
        "onecard.doctor",
        "onecard.health",
        "onecard.batch",
        "onecard.checkpoint",
        "onecard.resume",
        "onecard.files.atomic",
        "onecard.console.stopping",
        "onecard.catalog",
        "onecard.chat",
        "onecard.export.__main__",
    ],
)
def test_light_modules_stay_light(module: str) -> None:
    heavy = "{'torch', 'trl', 'unsloth', 'datasets', 'transformers'}"
    code = f"import {module}, sys; found = {heavy} & set(sys.modules); assert not found, found"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
