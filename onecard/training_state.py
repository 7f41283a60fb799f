"""Everything that a GRPO step changes: copied to memory, written, read and put back exactly, so
that a resumed run is the same run.
"""

import json
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import torch as safetensors

from onecard.checkpoint import ADAPTER, METRICS, STATE, TENSORS, TRAINER_STATE
from onecard.files.atomic import write_atomic
from onecard.weights import write_base

if TYPE_CHECKING:
    from trl import GRPOTrainer

    from onecard.policy import Policy


@dataclass(frozen=True)
class TrainingState:
    """A run after `step` optimizer steps. `tree` is plain JSON; where a tensor belongs it names one
    of `tensors`.

    `ended_early`: health ended the training there.
    """

    step: int
    adapter: dict[str, torch.Tensor]
    tree: Any
    tensors: dict[str, torch.Tensor]
    trainer_state: str
    metrics: bytes
    ended_early: bool


def take_state(trainer: "GRPOTrainer", metrics: bytes, ended_early: bool) -> TrainingState:
    """Copy everything to the CPU's memory; `metrics` is the content of metrics.jsonl."""
    scaler = trainer.accelerator.scaler
    tensors: dict[str, torch.Tensor] = {}
    tree = split(
        {
            "optimizer": trainer.optimizer.state_dict(),
            "scheduler": trainer.lr_scheduler.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
            "random": random_states(),
            "micro_steps": trainer._step,  # by which TRL tells when to generate anew
            "faults": trainer.scorer.faults,
        },
        tensors,
    )
    adapter = {
        name: weights.detach().cpu().clone().contiguous()
        for name, weights in get_peft_model_state_dict(
            trainer.model, adapter_name="default", save_embedding_layers=False
        ).items()
    }
    state = asdict(replace(trainer.state, log_history=[]))  # metrics.jsonl has it
    return TrainingState(
        trainer.state.global_step,
        adapter,
        tree,
        tensors,
        json.dumps(state, indent=2) + "\n",
        metrics,
        ended_early,
    )


def write_state(state: TrainingState, folder: Path, policy: "Policy") -> None:
    """The files of a checkpoint, but for its manifest. No pickle: safetensors and JSON."""
    write_adapter(state.adapter, folder / ADAPTER, policy)
    write_atomic(folder / STATE, json.dumps(state.tree) + "\n")
    write_atomic(folder / TENSORS, safetensors.save(state.tensors))
    write_atomic(folder / TRAINER_STATE, state.trainer_state)
    write_atomic(folder / METRICS, state.metrics)


def write_adapter(adapter: dict[str, torch.Tensor], folder: Path, policy: "Policy") -> None:
    """A LoRA adapter as PEFT's save_pretrained writes it, with a note of the base that it was
    trained on.
    """
    folder.mkdir()
    policy.model.peft_config["default"].save_pretrained(folder)
    write_atomic(
        folder / "adapter_model.safetensors", safetensors.save(adapter, metadata={"format": "pt"})
    )
    write_base(folder, policy.base)


def load_adapter(model: Any, folder: Path) -> None:
    """Put a written adapter's weights into the model's own adapter. Raises ValueError where the two
    do not have the same tensors.
    """
    weights = safetensors.load_file(folder / "adapter_model.safetensors")
    wanted = get_peft_model_state_dict(model, adapter_name="default", save_embedding_layers=False)
    if differing := set(weights) ^ set(wanted):
        raise ValueError(
            f"{folder} is of another model or LoRA: {len(differing)} tensors such as"
            f" {min(differing)}"
        )
    set_peft_model_state_dict(model, weights, adapter_name="default")


def read_tree(folder: Path) -> dict[str, Any]:
    """What take_state gave to split()."""
    tree: dict[str, Any] = join(
        json.loads((folder / STATE).read_text(encoding="utf-8")),
        safetensors.load_file(folder / TENSORS),
    )
    return tree


def put_state(trainer: "GRPOTrainer", tree: dict[str, Any]) -> None:
    """Everything but the random states, which have to wait until the data is back in its place."""
    trainer.optimizer.load_state_dict(tree["optimizer"])
    trainer.lr_scheduler.load_state_dict(tree["scheduler"])
    if trainer.accelerator.scaler:
        trainer.accelerator.scaler.load_state_dict(tree["scaler"])
    trainer._step = tree["micro_steps"]
    trainer.scorer.faults = tree["faults"]


def random_states() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys).tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def put_random_states(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])


def split(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Nested dicts, lists and tuples as plain JSON that keeps their kinds and the kinds of their
    keys; tensors are copied into `tensors`.

    Raises TypeError for anything else, rather than keep it wrong.
    """
    if isinstance(tree, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = tree.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(tree, dict):
        return {
            "dict": [[split(key, tensors), split(value, tensors)] for key, value in tree.items()]
        }
    if isinstance(tree, list | tuple):
        return {
            "tuple" if isinstance(tree, tuple) else "list": [
                split(value, tensors) for value in tree
            ]
        }
    if tree is None or isinstance(tree, str | int | float):
        return tree
    raise TypeError(
        f"a {type(tree).__name__} in the training state cannot be kept in a checkpoint: {tree!r}"
    )


def join(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The reverse of split()."""
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {join(key, tensors): join(value, tensors) for key, value in content}
    values = [join(value, tensors) for value in content]
    return tuple(values) if kind == "tuple" else values
