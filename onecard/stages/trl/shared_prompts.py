"""A prompt is read once for all completions of its group, in training too: on a CPU.

TRL reads it with each of them. Where prompts are as long as completions, that is half of all
tokens.
"""

from typing import Any

import torch

from onecard.model.engines.generation import read_prompts


def side_by_side(batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The micro-batches of one step, with the completions of a prompt in the same ones.

    TRL shuffles them. The sum over a step is the same in any order.
    """
    rows = sum(len(batch["prompt_ids"]) for batch in batches)
    joined = {name: join([batch[name] for batch in batches]) for name in batches[0]}
    prompts = joined["prompt_ids"].tolist()
    order = sorted(range(rows), key=lambda row: prompts[row])
    parts = torch.tensor(order).tensor_split(len(batches))
    return [{name: pick(value, part) for name, value in joined.items()} for part in parts]


def join(values: list[Any]) -> Any:
    """One value of several micro-batches: rows are put together, what all of them share stays."""
    if isinstance(values[0], torch.Tensor) and values[0].dim():
        return torch.cat(values)
    if isinstance(values[0], list):
        return [one for value in values for one in value]
    return values[0]


def pick(value: Any, rows: torch.Tensor) -> Any:
    """The given rows of what join() made."""
    if isinstance(value, torch.Tensor) and value.dim():
        return value[rows]
    if isinstance(value, list):
        return [value[row] for row in rows]
    return value


def score(
    model: Any,
    decoder: Any,
    input_ids: torch.Tensor,  # (B, P + C) prompts, padded on the left, and completions
    attention_mask: torch.Tensor,  # (B, P + C)
    completion_length: int,  # C
) -> tuple[torch.Tensor, torch.Tensor]:
    """The log-probability and the entropy of each token of the completions, (B, C) each.

    `model` is TRL's, with its own last layer; `decoder` is what is below that.
    """
    length = input_ids.shape[1] - completion_length  # P
    cache = read_prompts(decoder, input_ids[:, :length], attention_mask[:, :length])
    kept = slice(length - 1, None)  # the cache has all before the prompt's last token
    labels = input_ids.masked_fill(attention_mask == 0, -100)
    labels[:, :length] = -100
    outputs = model(
        input_ids=input_ids[:, kept],
        attention_mask=attention_mask,
        position_ids=(attention_mask.cumsum(-1) - 1).clamp(min=0)[:, kept],
        past_key_values=cache,
        labels=labels[:, kept],
        fused_lm_head=True,
    )
    last = slice(-completion_length, None)
    return outputs.log_probs[:, last], outputs.entropy[:, last]
