"""Rows as Unsloth's loss for CUDA has them: each moved to the left, by its own padding."""

from typing import Any

import torch

# What the loss takes the width from, where it is there.
WIDTHS = ("old_per_token_logps", "ref_per_token_logps")


def pack_advantages(inputs: dict[str, Any]) -> dict[str, Any]:
    """A micro-batch whose (B, C) advantages stand where the loss looks for them.

    Prompts are padded on the left, so that completions begin in one column. Unsloth packs prompt
    and completion to the left, and looks at the last C + W columns, W being the widest padding of a
    prompt. A completion begins W less its own prompt's padding after the first of them
    (unsloth_zoo's align_logprobs_with_mask).
    """
    advantages, mask = inputs["advantages"], inputs["prompt_mask"]
    rows, columns = advantages.shape
    padding = mask.shape[1] - mask.sum(dim=1)  # (B,) tokens
    widest = int(padding.max())
    for name in WIDTHS:
        if inputs.get(name) is not None:
            widest = inputs[name].shape[1] - columns
            break
    packed = advantages.new_zeros(rows, columns + widest)
    first = widest - padding
    places = first[:, None] + torch.arange(columns, device=advantages.device)
    packed.scatter_(1, places, advantages)
    return inputs | {"advantages": packed}
