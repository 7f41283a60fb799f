"""The adapter that a run goes on from, where the recipe names one: another run's."""

import json
import shutil
from pathlib import Path

from onecard.files.atomic import atomic_folder
from onecard.model.section import Lora, Model
from onecard.model.weights import ADAPTER_CONFIG, check_adapter, named_base, read_base
from onecard.run.folder import ADAPTER, RECIPE, Run
from onecard.run.process import is_first
from onecard.types import UserError


def find_start(model: Model, lora: Lora) -> Path | None:
    """The folder of the adapter that `model.adapter` names; None where it names none.

    Raises UserError where there is none, or it is of another base or another shape than the recipe
    says.
    """
    if model.adapter is None:
        return None
    folder = Path(model.adapter)
    if not folder.is_dir():
        raise UserError(f"model.adapter: there is no folder {folder}")
    if (folder / RECIPE).is_file():
        folder = folder / ADAPTER
        if not folder.is_dir():
            raise UserError(f"model.adapter: the run {model.adapter} did not finish")
    check_shape(folder, lora)
    base = (read_base(folder) or {"name": named_base(folder)})["name"]
    try:
        check_adapter(folder, model.name)
    except UserError as error:
        raise UserError(f"model.adapter: {error}; set model.name={base}") from None
    return folder


def check_shape(adapter: Path, lora: Lora) -> None:
    """Raise UserError unless `lora:` says what the adapter is."""
    try:
        config = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        rank, alpha = config["r"], config["lora_alpha"]
    except (OSError, ValueError, KeyError):
        raise UserError(f"model.adapter: {adapter} is not a LoRA adapter") from None
    if (rank, alpha) != (lora.rank, lora.alpha):
        raise UserError(
            f"model.adapter: {adapter} has rank {rank} and alpha {alpha}, and `lora:` says"
            f" {lora.rank} and {lora.alpha}; set lora.rank={rank} and lora.alpha={alpha}"
        )


def keep_start(model: Model, lora: Lora, run: Run) -> None:
    """Copy the adapter, where one is named, so that a resumed run begins with the same one."""
    start = find_start(model, lora)
    if start is None or run.start_adapter.is_dir() or not is_first():
        return
    with atomic_folder(run.start_adapter) as folder:
        shutil.copytree(start, folder, dirs_exist_ok=True)
