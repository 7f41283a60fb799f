"""What all scoring models do. Loaded by plain transformers: Unsloth loads causal models only."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, BitsAndBytesConfig

from onecard.machine.gpu import find_cards
from onecard.machine.precision import TORCH_NAMES, choose_precision
from onecard.types import Messages, UserError
from rewards.judges.reward_model import Asked, RewardModel

transformers.utils.logging.disable_progress_bar()  # one progress display is enough: ours


class Scoring:
    """What all families do: render, batch, and put the model on its device."""

    auto: Any  # transformers' class that loads it
    precision: str | None = None  # torch's name; None: what this machine computes in

    def __init__(self, reward: RewardModel) -> None:
        self.reward = reward
        cards = [] if reward.device == "cpu" else find_cards()
        if reward.device == "card" and not cards:
            raise UserError("reward_model: device: card, and this machine has none; leave it out")
        trusted = reward.trust_remote_code
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(reward.model, trust_remote_code=trusted)
            self.model, told = self.auto.from_pretrained(
                reward.model,
                dtype=getattr(torch, self.precision or TORCH_NAMES[choose_precision(cards)]),
                device_map={"": 0 if cards else "cpu"},
                trust_remote_code=trusted,
                output_loading_info=True,
                **quantized(reward, cards),
            )
        except Exception as error:  # a damaged file has as many classes as there are formats
            reason = (str(error).splitlines() or [""])[0]
            raise UserError(
                f"reward_model: {reward.model} cannot be loaded as {reward.family}:"
                f" {type(error).__name__}: {reason}"
            ) from None
        if missing := sorted(told["missing_keys"]):
            raise UserError(
                f"reward_model: {reward.model} has no weights for {missing[0]}: it gives no score,"
                f" so it is no reward model of the family {reward.family}"
            )
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.tokenizer.padding_side = "right"
        self.model.config.get_text_config().pad_token_id = self.tokenizer.pad_token_id
        self.model.eval()

    def scores(self, asked: Sequence[Asked]) -> list[tuple[float, ...] | None]:
        """One score for each completion, or one for each of its steps; None for a too long one."""
        found: dict[int, tuple[float, ...]] = {}
        tokens = [self.encode(one) for one in asked]
        fitting = [place for place, ids in enumerate(tokens) if len(ids) <= self.reward.max_length]
        # Alike lengths together: less padding.
        order = sorted(fitting, key=lambda place: len(tokens[place]))
        for places in batches(order, self.reward.batch_size):
            ids = [tokens[place] for place in places]
            read = self.read(*self.padded(ids), [asked[place] for place in places])
            found |= dict(zip(places, read, strict=True))
        return [found.get(place) for place in range(len(asked))]

    def padded(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T) tokens and mask, on the model's device."""
        ids, mask = padded(rows, self.tokenizer.pad_token_id)
        return ids.to(self.model.device), mask.to(self.model.device)

    def encode(self, asked: Asked) -> list[int]:
        """The tokens of a completion after its prompt."""
        raise NotImplementedError

    def read(
        self, ids: torch.Tensor, mask: torch.Tensor, asked: Sequence[Asked]
    ) -> list[tuple[float, ...]]:
        raise NotImplementedError

    def plain(self, text: str) -> list[int]:
        return plain(self.tokenizer, text)


def padded(rows: list[list[int]], padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T) tokens and mask, padded on the right."""
    width = max(map(len, rows))
    ids = [row + [padding] * (width - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    return torch.tensor(ids), torch.tensor(mask)


def plain(tokenizer: Any, text: str) -> list[int]:
    """A text's tokens; a chat template has written its special tokens already."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def prompt_text(tokenizer: Any, prompt: str | Messages, system: str | None = None) -> str:
    """The text before a completion, by the model's own chat template where it has one."""
    if isinstance(prompt, str):
        return prompt
    if tokenizer.chat_template is None:
        return "\n".join(message["content"] for message in prompt) + "\n"
    messages = [dict(message) for message in prompt]
    if system and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text


def quantized(reward: RewardModel, cards: list[Any]) -> dict[str, Any]:
    """What has transformers load 4-bit weights."""
    if not reward.load_in_4bit:
        return {}
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, TORCH_NAMES[choose_precision(cards)]),
        llm_int8_skip_modules=["score", "classifier"],  # the head is small, and new
    )
    return {"quantization_config": config}


def batches(order: list[int], size: int) -> Iterator[list[int]]:
    for first in range(0, len(order), size):
        yield order[first : first + size]
