"""The private names of TRL, transformers and Unsloth: each is where its table says, and only the
rooms that own them know them.
"""

import ast
import inspect
import re
from typing import Any

import pytest
from conftest import ROOT, Call, stock

from onecard.model import unsloth_private_names as unsloth_names
from onecard.stages.trl import private_names as trl_names
from onecard.stages.trl.fields import package_folder

TRL_ROOM, MODEL_ROOM = "onecard/stages/trl/", "onecard/model/"
UNSLOTH_TABLE = f"{MODEL_ROOM}unsloth_private_names.py"
TRL_NAMES = {entry.name for entry in trl_names.NAMES}


def texts() -> dict[str, str]:
    """All files of this house by their path, whole: code, strings and comments."""
    folders = ("onecard", "eval", "rewards")
    files = [ROOT / "train.py", *(file for part in folders for file in (ROOT / part).rglob("*.py"))]
    return {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}


TEXTS = texts()


def holders(name: str) -> set[str]:
    """The files in which a name stands as a word of its own."""
    return {path for path, text in TEXTS.items() if re.search(rf"\b{re.escape(name)}\b", text)}


def missing(cls: Any) -> list[str]:
    """The names of TRL's table that a class has neither as an attribute nor sets on itself."""
    sources = [inspect.getsource(parent) for parent in cls.__mro__ if parent is not object]
    source = "\n".join(sources)
    return [
        name
        for name in sorted(TRL_NAMES)
        if not hasattr(cls, name) and not re.search(rf"\bself\.{name}(: [^=\n]+)? = ", source)
    ]


def missing_names() -> dict[str, list[str]]:
    """What is missing in each class; called in the process that has Unsloth's CUDA trainer."""
    import transformers
    import trl

    of = {entry.name: entry.of for entry in trl_names.NAMES}
    classes = {"GRPOTrainer": stock["GRPOTrainer"], "Trainer": transformers.Trainer}
    assert set(of.values()) <= set(classes)
    found = {
        label: [name for name in missing(cls) if of[name] == label]
        for label, cls in classes.items()
    }
    return found | {"Unsloth's GRPOTrainer for CUDA": missing(trl.GRPOTrainer)}


@pytest.mark.e2e
def test_every_name_of_trl_s_table_is_in_its_class_and_in_unsloth_s_trainer_for_cuda(
    with_unsloths_cuda_trainer: Call,
) -> None:
    found = with_unsloths_cuda_trainer(missing_names)
    assert found == {label: [] for label in found}
    assert len(found) == 3


@pytest.mark.unit
@pytest.mark.parametrize("entry", unsloth_names.NAMES, ids=lambda entry: entry.name)
def test_every_name_of_unsloth_s_table_is_in_the_file_it_names(
    entry: unsloth_names.PrivateName,
) -> None:
    file = package_folder("unsloth").parent / entry.where
    assert re.search(rf"\b{entry.name}\b", file.read_text(encoding="utf-8")), file


@pytest.mark.unit
@pytest.mark.parametrize("name", sorted(TRL_NAMES))
def test_trl_s_private_names_stand_in_one_folder_and_serve_there(name: str) -> None:
    assert {path for path in holders(name) if not path.startswith(TRL_ROOM)} == set()
    entry = re.compile(rf'PrivateName\(\s*"{name}",')
    used = {path: entry.sub("", TEXTS[path]) for path in holders(name)}
    assert any(re.search(rf"\b{name}\b", text) for text in used.values()), "nothing uses it"


@pytest.mark.unit
def test_unsloth_s_private_names_stand_in_the_model_room_alone() -> None:
    table = {entry.name for entry in unsloth_names.NAMES}
    for name in table:
        assert {path for path in holders(name) if not path.startswith(MODEL_ROOM)} == set(), name
    written = {
        path: set(re.findall(r"(?i)\b(?:__unsloth_\w+|_unsloth_\w+)\b", text))
        for path, text in TEXTS.items()
    }
    assert {path: found - table for path, found in written.items() if found - table} == {}
    assert {path for path, found in written.items() if found} == {UNSLOTH_TABLE}


@pytest.mark.unit
def test_no_private_name_of_a_trainer_is_used_that_the_table_lacks() -> None:
    """What is read or set of a trainer anywhere, and what our trainers override."""
    for path, text in TEXTS.items():
        used = set(re.findall(r"\btrainer\._(?!_)\w+", text))
        assert {use.removeprefix("trainer.") for use in used} <= TRL_NAMES, path
    overridden = {
        item.name
        for file in ("trainers.py", "grpo_trainer.py", "distillation.py")
        for node in ast.parse(TEXTS[f"{TRL_ROOM}{file}"]).body
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.FunctionDef) and re.match(r"_(?!_)", item.name)
    }
    assert overridden
    assert overridden <= TRL_NAMES, overridden - TRL_NAMES
