"""The LoRA adapter's own weights: copied, written, put back, measured."""

from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import torch as safetensors

from onecard.files.atomic import write_atomic
from onecard.model.weights import ADAPTER_WEIGHTS, write_base

TRAINED = "default"  # PEFT's name for the adapter that is trained
REFERENCE = "ref"  # TRL's name for a frozen copy of it, to which a loss holds the trained one


def copy_adapter(model: Any) -> dict[str, torch.Tensor]:
    """The adapter's tensors as they are now, in the CPU's memory."""
    weights = adapter_weights(model)
    return {name: copied(tensor) for name, tensor in weights.items()}


def copied(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in the CPU's memory that nothing else changes."""
    return tensor.detach().cpu().clone().contiguous()


def adapter_weights(model: Any) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = get_peft_model_state_dict(
        model, adapter_name=TRAINED, save_embedding_layers=False
    )
    return weights


def write_adapter(weights: dict[str, torch.Tensor], folder: Path, model: Any, base: str) -> None:
    """An adapter as PEFT's save_pretrained writes it, with a note of the base it belongs to."""
    folder.mkdir()
    model.peft_config[TRAINED].save_pretrained(folder)
    write_atomic(folder / ADAPTER_WEIGHTS, safetensors.save(weights, metadata={"format": "pt"}))
    write_base(folder, base)


def load_adapter(model: Any, folder: Path) -> None:
    """Put a written adapter's weights into the model's own adapter.

    Raises ValueError where the two do not have the same tensors.
    """
    weights = safetensors.load_file(folder / ADAPTER_WEIGHTS)
    if differing := set(weights) ^ set(adapter_weights(model)):
        raise ValueError(
            f"{folder} is of another model or LoRA: {len(differing)} tensors such as"
            f" {min(differing)}"
        )
    set_peft_model_state_dict(model, weights, adapter_name=TRAINED)


def trained_parameters(model: Any) -> dict[str, torch.Tensor]:
    """What is trained, as it is now: not copied."""
    return {name: one.data for name, one in model.named_parameters() if one.requires_grad}


def train_in_32_bit(model: Any, before: dict[str, torch.Tensor]) -> None:
    """Undo TRL's cast of a 4-bit model's adapter to bf16, as Unsloth does on a card.

    `before`: the trained parameters as they were. Small updates are lost in bf16, and a CPU without
    it takes more than twice as long (LOG.md).
    """
    for name, parameter in model.named_parameters():
        if name in before and parameter.dtype != torch.float32:
            parameter.data = before[name].float()


def forget_reference(model: Any) -> None:
    """Take away the frozen copy that a trainer has added: the next one adds its own."""
    if REFERENCE in model.peft_config:
        model.delete_adapter(REFERENCE)


def lora_b_norm(model: torch.nn.Module) -> float:
    """The length of all LoRA B matrices together.

    It is 0 before the first step, and another number after every step that changes the adapter.
    """
    matrices = [
        parameter.detach()
        for name, parameter in model.named_parameters()
        if "lora_B" in name and parameter.requires_grad
    ]
    if not matrices:
        return 0.0
    # In 64 bits, where the smallest change of one number shows.
    lengths = [torch.linalg.vector_norm(matrix, dtype=torch.float64) for matrix in matrices]
    return float(torch.stack(lengths).norm())
