"""What makes a CPU quick: what torch, transformers and PEFT do there as they do on a card.

bench/generation.py measures it. None of it changes which token comes next, but for rounding.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
import transformers
from peft.helpers import disable_input_dtype_casting
from transformers import LogitsProcessor
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

GROUPED = "onecard_grouped"  # the name of grouped_attention among transformers' own
MOST_TOKENS = 512  # of a row, for attention by matrix products


@contextmanager
def quick(model: Any, training: bool = False) -> Iterator[None]:
    """On a CPU: grouped attention and one precision inside, and to generate, unpacked weights."""
    parts = (grouped, one_precision) if training else (grouped, one_precision, unpacked)
    with ExitStack() as inside:
        if model.device.type == "cpu":
            for part in parts:
                inside.enter_context(part(model))
        yield


@contextmanager
def one_precision(model: Any) -> Iterator[None]:
    """A 16-bit model's adapter computes in 16 bit inside, on a CPU, as autocast has it on a card.

    Its weights stay in 32 bit, so that small updates are not lost. PEFT would copy the input of
    each layer to 32 bit for them: more than half of what training keeps until its backward pass.
    """
    if model.dtype != torch.bfloat16:
        yield
        return
    with torch.autocast("cpu", torch.bfloat16), disable_input_dtype_casting(model):
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
        if self.temperature != 1:
            scores = scores / self.temperature
        # (B, vocabulary), in 32 bit: 64 took a third of the time of a token, and the scores
        # themselves have 16.
        sums = scores.softmax(-1).cumsum(-1)
        drawn = torch.rand(len(sums), 1, dtype=sums.dtype) * sums[:, -1:]
        token = torch.searchsorted(sums, drawn, right=True)
        token = token.clamp(max=sums.shape[1] - 1)
        return torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,  # (B, heads, T, size of a head)
    key: torch.Tensor,  # (B, key heads, all tokens, size of a head)
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # (B, 1, T, all tokens), True where one is seen
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention, without a copy of the keys for each head.

    The heads that share a key head stand where further tokens would: the keys are read once for all
    of them. Short rows are computed by matrix products, because the backward pass of torch's own
    attention is ten times slower for them. Those keep a number for each pair of tokens, so that
    long rows are left to torch.
    """
    rows, heads, new, size = query.shape
    groups, seen = heads // key.shape[1], key.shape[2]
    plain = (
        options.get("position_bias") is None
        and not (module.training and options.get("dropout"))
        and (attention_mask is None or attention_mask.dtype == torch.bool)
    )
    if not plain or (new > 1 and seen > MOST_TOKENS):
        found = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return found  # type: ignore[no-any-return]
    folded = query.reshape(rows, key.shape[1], groups * new, size)
    if new == 1:
        answer = torch.nn.functional.scaled_dot_product_attention(
            folded, key, value, attn_mask=attention_mask, scale=options.get("scaling")
        )
    else:
        if attention_mask is None:
            attention_mask = torch.ones(1, 1, new, seen, dtype=torch.bool).tril(seen - new)
        unseen = ~attention_mask.repeat(1, 1, groups, 1)  # (B, 1, groups x T, all tokens)
        scores = torch.matmul(folded, key.transpose(2, 3)) * (options.get("scaling") or size**-0.5)
        scores = scores.masked_fill(unseen, torch.finfo(scores.dtype).min)
        answer = torch.matmul(scores.softmax(-1), value)
    return answer.reshape(rows, heads, new, size).transpose(1, 2).contiguous(), None


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
    if not find_spec("bitsandbytes"):  # then no model has such weights
        yield
        return
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
