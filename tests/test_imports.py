"""The house: rooms in one order, no arrow that runs back, no circle, and what must stay light."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent
FOLDERS = ("onecard", "rewards", "eval")

# Every room imports only those that stand before it; CONTRIBUTING.md says what each is for.
ROOMS = (
    "onecard.types",
    "onecard.section",
    "onecard.files",
    "onecard.console",
    "onecard.machine",
    "onecard.run",
    "rewards.sandbox",
    "rewards.answer",
    "rewards",
    "onecard.data",
    "onecard.model",
    "eval",
    "onecard.watch",
    "onecard.stages",
    "onecard.recipe",
    "onecard.plan",
    "onecard.target",
    "onecard.report",
    "onecard.sweep",
    "doors",
)
DOORS = ("train", "eval.__main__", "rewards.__main__", "onecard.chat", "onecard.watch.__main__")
OPEN = ("onecard.export", "onecard.doctor")  # doors with rooms of their own


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = [ROOT / "train.py"]
for folder in FOLDERS:
    FILES += sorted((ROOT / folder).rglob("*.py"))
MODULES = {module_of(file): file for file in FILES}


@cache
def imported(file: Path) -> frozenset[str]:
    """All that a file imports, by its dotted name: deferred and type-only imports too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in MODULES else node.module)
    return frozenset(names)


def packages(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(file)}


def arrows(module: str) -> set[str]:
    """The modules of this house that a module imports."""
    return {name for name in imported(MODULES[module]) if name in MODULES}


def room_of(module: str) -> str | None:
    """The room that a module stands in; None for a package's own empty front page."""
    if module in DOORS or module.startswith(OPEN):
        return "doors"
    if module == "onecard":
        return None
    fitting = [room for room in ROOMS if module == room or module.startswith(f"{room}.")]
    assert fitting, f"{module} stands in no room"
    return max(fitting, key=len)


def test_every_room_is_there() -> None:
    assert {room_of(module) for module in MODULES} - {None} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_before_it(room: str) -> None:
    back = []
    for module in MODULES:
        if room_of(module) != room:
            continue
        for target in arrows(module):
            there = room_of(target)
            if there is not None and ROOMS.index(there) > ROOMS.index(room):
                back.append(f"{module} imports {target}")
    assert back == []


def test_nobody_imports_a_door() -> None:
    for module in MODULES:
        if module.startswith(OPEN):
            continue
        assert not {target for target in arrows(module) if room_of(target) == "doors"}, module


def test_no_files_import_each_other_in_a_circle() -> None:
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module in done:
            return
        for target in sorted(arrows(module)):
            visit(target, (*way, module))
        done.add(module)

    for module in MODULES:
        visit(module, ())


def test_the_walk_sees_deferred_and_type_only_imports(tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(
        "if TYPE_CHECKING:\n    from onecard.recipe.schema import Recipe\n"
        "def later():\n    from onecard.files import hub\n    import torch.nn\n"
    )
    assert imported(file) == {"onecard.recipe.schema", "onecard.files.hub", "torch.nn"}


def test_no_file_is_much_over_250_lines() -> None:
    long = {}
    for module, file in MODULES.items():
        lines = len(file.read_text(encoding="utf-8").splitlines())
        if lines > 270:
            long[module] = lines
    assert long == {}


def test_one_file_owns_unsloth_and_one_folder_trl() -> None:
    unsloth = {module for module, file in MODULES.items() if "unsloth" in packages(file)}
    assert unsloth == {"onecard.model.load"}
    zoo = {module for module, file in MODULES.items() if "unsloth_zoo" in packages(file)}
    assert all(room_of(module) == "onecard.model" for module in zoo)
    trl = {module for module, file in MODULES.items() if "trl" in packages(file)}
    assert trl
    assert all(module.startswith("onecard.stages.trl.") for module in trl), trl


def test_no_module_is_written_import_eval() -> None:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert "eval" not in [alias.name for alias in node.names], file


LIGHT_ROOMS = (
    "onecard.types",
    "onecard.section",
    "onecard.files",
    "onecard.console",
    "onecard.machine",
    "rewards.answer",
    "rewards",
    "onecard.data",
    "onecard.recipe",
    "onecard.plan",
    "onecard.target",
    "onecard.report",
)
LIGHT_MODULES = (
    "onecard.run.resume",
    "onecard.run.journal",
    "onecard.stages.table",
    "onecard.watch.health",
    "onecard.watch.batch",
    "eval.problems",
    "eval.scores",
    "eval.terminal",
    "eval.__main__",
    "rewards.__main__",
    "onecard.doctor.__main__",
    "onecard.chat",
    "onecard.export.__main__",
    "train",
)


def test_light_rooms_stay_light() -> None:
    """Nothing heavy is imported by importing them: --help and --plan answer within a second."""
    light = [module for module in MODULES if room_of(module) in LIGHT_ROOMS]
    code = (
        f"import importlib, sys\nfor name in {[*light, *LIGHT_MODULES]!r}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'trl', 'unsloth', 'datasets', 'transformers', 'vllm'}\n"
        "    assert not heavy & set(sys.modules), (name, heavy & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
