"""A training state as plain JSON and tensors, there and back to the bit; and random states.

No pickle: a checkpoint may come from somebody else's disk.
"""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import torch as safetensors

from onecard.files.atomic import write_atomic
from onecard.run.checkpoint import STATE, TENSORS


def split(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Nested dicts, lists and tuples as plain JSON that keeps their kinds and those of their keys.

    Tensors are copied into `tensors`; where one belongs, the JSON names it. Raises TypeError for
    anything else, rather than keep it wrong.
    """
    if isinstance(tree, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = tree.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(tree, dict):
        entries = [[split(key, tensors), split(value, tensors)] for key, value in tree.items()]
        return {"dict": entries}
    if isinstance(tree, list | tuple):
        kind = "tuple" if isinstance(tree, tuple) else "list"
        return {kind: [split(value, tensors) for value in tree]}
    if tree is None or isinstance(tree, str | int | float):
        return tree
    kind = type(tree).__name__
    raise TypeError(f"a {kind} in the training state cannot be kept in a checkpoint: {tree!r}")


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


def write_tree(tree: Any, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """What split() gave, as two files of a checkpoint."""
    write_atomic(folder / STATE, json.dumps(tree) + "\n")
    write_atomic(folder / TENSORS, safetensors.save(tensors))


def read_tree(folder: Path) -> dict[str, Any]:
    """What was given to split() before write_tree()."""
    written = json.loads((folder / STATE).read_text(encoding="utf-8"))
    tree: dict[str, Any] = join(written, safetensors.load_file(folder / TENSORS))
    return tree


def random_states() -> dict[str, Any]:
    """The states of every random number generator that training draws from."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys).tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def put_random_states(states: dict[str, Any]) -> None:
    """Have all generators go on from there."""
    random.setstate(states["python"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
