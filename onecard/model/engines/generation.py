"""Completions from a transformers model, in batches by length: the same ones every time."""

import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from onecard.model.engines.on_cpu import Draw, quick
from onecard.model.engines.tokens import decode, end_tokens, up_to_end
from onecard.types import Completion, Sampling

SMALLEST_TO_SHRINK = 8  # completions; below that a smaller batch is hardly faster


def generate(
    model: Any,
    tokenizer: Any,
    prompts: list[list[int]],
    sampling: Sampling,
    done: Collection[int] = (),
    leave: bool = True,
    share: tuple[int, int] = (0, 1),
) -> Iterator[dict[int, Completion]]:
    """Completions of tokenized `prompts`, batch by batch, as {index of the prompt: completion}.

    Longest prompts first, so that little of a batch is padding and memory is short at the start or
    never. How the prompts are cut into batches and what a batch's random numbers are does not
    depend on `done`, the prompts not asked for: a batch's shape can turn a near tie of two tokens,
    and a continued evaluation is to be the one that was interrupted. With `leave`, a model's cache
    can be taken apart: equal prompts of a batch are read once, and completions that have ended
    leave it whenever half of it has. `share` (k, n): of n processes this is number k, and does
    every n-th batch.
    """
    finished = set(done)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]), reverse=True)
    batches = {
        first: order[first : first + sampling.batch_size]
        for first in range(0, len(order), sampling.batch_size)
    }
    number, count = share
    left = [first for first, indices in batches.items() if not finished.issuperset(indices)]
    for first in left[number::count]:
        indices = batches[first]
        seed = zlib.crc32(f"{sampling.seed} {first}".encode())
        batch = [prompts[index] for index in indices]
        completions = one_batch(model, tokenizer, batch, sampling, seed, leave)
        yield dict(zip(indices, completions, strict=True))


def one_batch(
    model: Any, tokenizer: Any, prompts: list[list[int]], sampling: Sampling, seed: int, leave: bool
) -> list[Completion]:
    """Completions of prompts that are generated together, in the prompts' order."""
    ends = end_tokens(model.generation_config, tokenizer)
    drawing, processors = how_to_draw(sampling.temperature, model.device)
    padded = tokenizer.pad({"input_ids": prompts}, return_tensors="pt", padding_side="left")
    batch = padded.to(model.device)
    tokens, mask = batch["input_ids"], batch["attention_mask"]  # (B, T), padded on the left
    start, rows = tokens.shape[1], list(range(len(prompts)))  # rows: which prompts are left
    completions: dict[int, Completion] = {}
    with undisturbed(model), quick(model), torch.inference_mode():
        torch.manual_seed(seed)
        cache = read_prompts(model.get_decoder(), tokens, mask) if leave else None
        while rows:
            enough = len(rows) // 2 if leave and len(rows) >= SMALLEST_TO_SHRINK else len(rows)
            ending = Ending(tokenizer, ends, sampling.stop, start, enough)
            output = model.generate(
                input_ids=tokens,
                attention_mask=mask,
                past_key_values=cache,
                logits_processor=LogitsProcessorList(processors),
                stopping_criteria=StoppingCriteriaList([ending]),
                generation_config=GenerationConfig(
                    **drawing,
                    max_new_tokens=sampling.max_completion_length - (tokens.shape[1] - start),
                    pad_token_id=tokenizer.pad_token_id,
                    eos_token_id=sorted(ends),
                    return_dict_in_generate=True,
                ),
            )
            tokens, cache = output.sequences, output.past_key_values
            full = tokens.shape[1] - start >= sampling.max_completion_length
            stays = [] if full else (~ending.ended).nonzero()[:, 0].tolist()
            for place in set(range(len(rows))) - set(stays):
                completions[rows[place]] = completion_of(
                    tokens[place, start:].tolist(), tokenizer, ends, sampling.stop
                )
            rows = [rows[place] for place in stays]
            if rows:
                cache.batch_select_indices(torch.tensor(stays, device=tokens.device))
                grown = tokens.shape[1] - mask.shape[1]
                mask = torch.nn.functional.pad(mask, (0, grown), value=1)[stays]
                tokens = tokens[stays]
    return [completions[row] for row in range(len(prompts))]


def how_to_draw(
    temperature: float, device: torch.device
) -> tuple[dict[str, Any], list[LogitsProcessor]]:
    """GenerationConfig's values and the logits processors of a temperature; 0 is greedy."""
    if not temperature:
        return {"do_sample": False}, []
    if device.type == "cpu":
        return {"do_sample": False}, [Draw(temperature)]
    return {"do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0}, []


def read_prompts(decoder: Any, tokens: torch.Tensor, mask: torch.Tensor) -> Any:
    """The cache of all tokens of the prompts but the last one; None where there is no other.

    `tokens` and `mask`: (B, T), padded on the left. `decoder`: the model without its last layer.
    Equal prompts are read once: a group of completions has one. The last token is left to the
    caller: to read several in generation, transformers would on a CPU copy the last layer's weights
    for each row of the batch.
    """
    if tokens.shape[1] == 1:
        return None
    first: dict[tuple[int, ...], int] = {}  # a prompt -> the first row that has it
    told_apart = tokens.masked_fill(mask == 0, -1).tolist()  # from a prompt that begins with 0
    firsts = [first.setdefault(tuple(row), n) for n, row in enumerate(told_apart)]
    different = list(first.values())
    seen = mask[different, :-1]
    cache = decoder(
        input_ids=tokens[different, :-1],
        attention_mask=seen,
        position_ids=(seen.cumsum(-1) - 1).clamp(min=0),
        use_cache=True,
    ).past_key_values
    places = [different.index(row) for row in firsts]
    cache.batch_select_indices(torch.tensor(places, device=tokens.device))
    return cache


class Ending(StoppingCriteria):
    """Ends a row at a stop string, and the batch when `enough` of its rows have ended.

    The others can then go on without them. transformers' own stop_strings misses strings whose
    tokens it cannot take apart, so the end of each row is decoded here.
    """

    def __init__(
        self, tokenizer: Any, ends: set[int], stop: tuple[str, ...], start: int, enough: int
    ) -> None:
        self.tokenizer, self.stop = tokenizer, stop
        self.start, self.enough = start, enough
        self.ends = torch.tensor(sorted(ends))
        # Tokens that may hold a stop string: a token is a byte at least.
        self.tail = max((len(string.encode()) for string in stop), default=0)
        self.ended = torch.tensor(())  # (B,) bool, from the first call on

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        # generate() fills a row that has ended with padding, which is an end token too: the last
        # token tells.
        self.ended = torch.isin(input_ids[:, -1], self.ends.to(input_ids.device))
        if self.stop:
            last = input_ids[:, max(self.start, input_ids.shape[1] - self.tail) :]
            tails = self.tokenizer.batch_decode(last, clean_up_tokenization_spaces=False)
            stopped = [any(string in tail for string in self.stop) for tail in tails]
            self.ended = self.ended | torch.tensor(stopped, device=input_ids.device)
        return torch.full_like(self.ended, True) if self.ended.sum() >= self.enough else self.ended


def completion_of(
    row: list[int], tokenizer: Any, ends: set[int], stop: tuple[str, ...]
) -> Completion:
    """One generated row up to its end token or its stop string; what follows those is padding."""
    ids = up_to_end(row, ends)
    text = decode(tokenizer, ids, ends)
    cut = min((place for string in stop if (place := text.find(string)) >= 0), default=None)
    if cut is not None:
        without_end = ids[:-1] if ids and ids[-1] in ends else ids
        return Completion(text[:cut], len(without_end), truncated=False, ids=tuple(without_end))
    return Completion(text, len(ids), truncated=not ids or ids[-1] not in ends, ids=tuple(ids))


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Evaluation mode and a generation config of defaults inside; as it was, afterwards.

    generate() fills what its caller leaves open from the model's own config: a repetition penalty,
    a ban of n-grams, beams. torch's random states are put back too.
    """
    modes = {module: module.training for module in model.modules()}
    holders = {
        module: module.generation_config
        for module in model.modules()
        if "generation_config" in vars(module)
    }
    for module in holders:
        module.generation_config = GenerationConfig()
    model.eval()
    try:
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
            yield
    finally:
        for module, training in modes.items():
            module.training = training
        for module, own in holders.items():
            module.generation_config = own
