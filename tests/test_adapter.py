"""An adapter's numbers: trained in 32 bit, and loaded in the precision in which it was written."""

from pathlib import Path
from typing import Any

import pytest
from conftest import ShortRun

pytestmark = pytest.mark.e2e


def adapted() -> Any:
    """The smallest model with an adapter on it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 8}
    model = Qwen3ForCausalLM(Qwen3Config(**sizes, **heads))
    return get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))


def test_it_is_loaded_as_it_was_written_and_trained_in_32_bit(tmp_path: Path) -> None:
    import torch

    from onecard.model.adapter import (
        adapter_weights,
        copy_adapter,
        load_adapter,
        train_in_32_bit,
        write_adapter,
    )

    model = adapted()
    with torch.no_grad():
        for weights in adapter_weights(model).values():
            weights.normal_()
    written = {name: tensor.bfloat16() for name, tensor in copy_adapter(model).items()}
    write_adapter(written, tmp_path / "a", model, "base")
    other = adapted()
    load_adapter(other, tmp_path / "a")
    assert all(torch.equal(adapter_weights(other)[name], written[name]) for name in written)
    train_in_32_bit(other)
    loaded = adapter_weights(other)
    assert {tensor.dtype for tensor in loaded.values()} == {torch.float32}
    assert all(torch.equal(loaded[name], written[name].float()) for name in written)


def test_a_run_of_a_model_in_4_bit_trains_its_adapter_in_32_bit(short_run: ShortRun) -> None:
    import torch
    from safetensors.torch import load_file

    weights = load_file(short_run[0] / "adapter/adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
