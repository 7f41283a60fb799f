"""Counts the bytes of living tensors, while nothing of size is computed: a training step of a 7B
model in a minute, on a CPU.
"""

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

LARGE = 2**20  # numbers; what is smaller is computed, since code looks at it: masks, lengths


class TensorBytes(TorchDispatchMode):  # type: ignore[misc]
    """`live` and `peak`: bytes of the storages that operations have made under this mode, each as
    large as it was asked for.

    An operation with something large only makes its result, without its content; results that are
    small are zeros then. Tensors of `elsewhere` do not count: they were there before, or are not on
    the card.
    """

    def __init__(self, elsewhere: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self.elsewhere: set[int] = set()
        self.sizes: dict[int, int] = {}
        self.live = self.peak = 0
        for tensor in elsewhere:
            self.leave_out(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        written = [
            args[place] if place < len(args) else kwargs[argument.name]
            for place, argument in enumerate(func._schema.arguments)
            if argument.alias_info is not None
            and argument.alias_info.is_write
            and (place < len(args) or argument.name in kwargs)
        ]
        if (
            func.is_view
            or not any(is_large(value) for value in tree_leaves((args, kwargs)))
            or runs_anyway(func)
        ):
            result = func(*args, **kwargs)
        elif written:  # in place
            for tensor in written:
                if not is_large(tensor):
                    tensor.zero_()
            result = (
                written[0]
                if len(func._schema.returns) == 1
                else tuple(written)
                if func._schema.returns
                else None
            )
        else:
            result = unwritten(func, args, kwargs)
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor):
                self.note(value)
        return result

    def note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.elsewhere:
            return
        if key not in self.sizes:
            weakref.finalize(storage, self.gone, key)
        self.live += size - self.sizes.get(key, 0)  # resize_ changes it
        self.sizes[key] = size
        self.peak = max(self.peak, self.live)

    def gone(self, key: int) -> None:
        self.live -= self.sizes.pop(key, 0)

    def leave_out(self, tensor: torch.Tensor) -> None:
        """It is not on the card."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.elsewhere:
            self.elsewhere.add(key)
            weakref.finalize(
                storage, self.elsewhere.discard, key
            )  # the next one may have its address
        self.gone(key)


def is_large(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.numel() > LARGE


def runs_anyway(func: Any) -> bool:
    """What changes a size itself, and custom operations, whose code makes tensors of its own."""
    return func.overloadpacket is torch.ops.aten.resize_ or func.namespace not in (
        "aten",
        "bitsandbytes",
    )


def unwritten(func: Any, args: Any, kwargs: Any) -> Any:
    """An operation's result as its shapes say, not computed; computed where they depend on what is
    in a tensor.
    """

    def on_meta(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return torch.empty_strided(
                value.size(), value.stride(), dtype=value.dtype, device="meta"
            )
        return torch.device("meta") if isinstance(value, torch.device) else value

    def in_memory(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        made = torch.empty_strided(value.size(), value.stride(), dtype=value.dtype)
        return made if is_large(made) else made.zero_()

    try:
        shapes = func(*tree_map(on_meta, args), **tree_map(on_meta, kwargs))
    except NotImplementedError:
        return func(*args, **kwargs)
    return tree_map(in_memory, shapes)
