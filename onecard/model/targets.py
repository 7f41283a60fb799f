"""Which linear layers get an adapter: `lora.target_modules` against the model's own modules."""

from typing import Any

import torch

from onecard.model.section import ALL_LINEAR, Lora
from onecard.types import UserError


def target_names(model: Any, lora: Lora) -> list[str]:
    """The names of the layers that are trained. Raises UserError for one that the model lacks."""
    there = linear_names(model)
    if lora.target_modules == ALL_LINEAR:
        return there
    assert isinstance(lora.target_modules, list)
    missing = [name for name in lora.target_modules if name not in there]
    if missing:
        raise UserError(
            f"lora.target_modules: this model has no linear layer {', '.join(missing)}; it has:"
            f" {', '.join(there)}"
        )
    return lora.target_modules


def linear_names(model: Any) -> list[str]:
    """The last parts of the names of all linear layers, in the model's order; the head is none."""
    head = model.get_output_embeddings()
    names = [
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head  # bitsandbytes' is one too
    ]
    return list(dict.fromkeys(names))


def check_adapted(model: Any, targets: list[str]) -> None:
    """Raise UserError unless every layer of these names got weights of an adapter."""
    bare = [
        name
        for name, module in model.get_base_model().named_modules()
        if name.rpartition(".")[2] in targets
        and isinstance(module, torch.nn.Linear)
        and not hasattr(module, "lora_A")
    ]
    if bare:
        raise UserError(
            f"lora.target_modules: {len(bare)} layers got no adapter, {bare[0]} among them; Unsloth"
            " does not train them in this model. Leave them out"
        )
