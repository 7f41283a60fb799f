"""An adapter is trained in 32 bit, whatever TRL makes of it."""

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


def test_what_a_trainer_made_16_bit_numbers_is_put_back() -> None:
    import torch

    from onecard.model.adapter import train_in_32_bit, trained_parameters

    model = adapted()
    before = trained_parameters(model)
    exact = {name: tensor.clone() for name, tensor in before.items()}
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    train_in_32_bit(model, before)
    after = trained_parameters(model)
    assert all(torch.equal(after[name], exact[name]) for name in exact)
    frozen = {one.dtype for one in model.parameters() if not one.requires_grad}
    assert frozen == {torch.bfloat16}  # none of our business
    # What was 16-bit before, as an adapter of another version, is trained in 32 bit as well.
    rounded = {name: tensor.bfloat16() for name, tensor in exact.items()}
    for name, parameter in model.named_parameters():
        if name in rounded:
            parameter.data = rounded[name]
    train_in_32_bit(model, rounded)
    assert all(
        torch.equal(tensor, rounded[name].float())
        for name, tensor in trained_parameters(model).items()
    )


def test_a_run_of_a_model_in_4_bit_trains_its_adapter_in_32_bit(short_run: ShortRun) -> None:
    import torch
    from safetensors.torch import load_file

    weights = load_file(short_run[0] / "adapter/adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
