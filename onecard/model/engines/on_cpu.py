"""What makes generation on a CPU quick: what torch and transformers do there as they do on a card.

bench/generation.py measures each. None of it changes which token comes next, but for rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import transformers
from transformers import LogitsProcessor
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

GROUPED = "onecard_grouped"  # the name of grouped_attention among transformers' own


@contextmanager
def quick(model: Any) -> Iterator[None]:
    """Grouped attention and unpacked weights inside, where the model is on a CPU."""
    if model.device.type != "cpu":
        yield
        return
    with grouped(model), unpacked(model):
        yield


class Draw(LogitsProcessor):
    """Draws the next token with one random number a row; then it is the only one that is left.

    It is the first token at which the sum of the chances passes that number. torch.multinomial
    draws a number for each word of the vocabulary, which on a CPU takes longer than the model's
    last layer.
    """

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        chances = (scores.double() / self.temperature).softmax(-1)  # (B, vocabulary)
        sums = chances.cumsum(-1)
        drawn = torch.rand(len(sums), 1, dtype=sums.dtype) * sums[:, -1:]
        token = torch.searchsorted(sums, drawn, right=True)
        token = token.clamp(max=sums.shape[1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,  # (B, heads, T, size of a head)
    key: torch.Tensor,  # (B, key heads, all tokens, size of a head)
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # (B, 1, T, all tokens)
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention; for one new token, without a copy of the keys for each head.

    The heads that share a key head stand where several tokens would: the keys are read once for
    all of them.
    """
    rows, heads, new, size = query.shape
    if new != 1 or options.get("position_bias") is not None:
        found = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return found  # type: ignore[no-any-return]
    folded = query.reshape(rows, key.shape[1], heads // key.shape[1], size)
    answer = torch.nn.functional.scaled_dot_product_attention(
        folded, key, value, attn_mask=attention_mask, scale=options.get("scaling")
    )
    return answer.reshape(rows, heads, 1, size).transpose(1, 2).contiguous(), None


transformers.AttentionInterface.register(GROUPED, grouped_attention)
transformers.AttentionMaskInterface.register(GROUPED, sdpa_mask)


@contextmanager
def grouped(model: Any) -> Iterator[None]:
    """Grouped attention inside, for a model that uses torch's own (`sdpa`)."""
    config = model.config.get_text_config()
    before = config._attn_implementation
    if before == "sdpa":
        config._attn_implementation = GROUPED
    try:
        yield
    finally:
        config._attn_implementation = before


@contextmanager
def unpacked(model: Any) -> Iterator[None]:
    """4-bit weights as 16-bit ones inside, for 2 bytes of memory each: unpacked once.

    bitsandbytes unpacks them for every token anew.
    """
    from bitsandbytes.nn import Linear4bit

    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]
    for layer in layers:
        layer.forward = plain_forward(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def plain_forward(layer: Any) -> Any:
    """What a 4-bit layer computes, with its weights unpacked."""
    from bitsandbytes.functional import dequantize_4bit

    weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    weight = weight.to(layer.compute_dtype or weight.dtype)
    return partial(linear, weight=weight, bias=layer.bias)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    found = torch.nn.functional.linear(
        x.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype)
    )
    return found.to(x.dtype)
