"""One number for a whole completion."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from onecard.model.scoring.base import Scoring, plain, prompt_text
from onecard.types import UserError
from rewards.judges.reward_model import Asked, RewardModel


class SequenceModel(Scoring):
    """One number for a whole completion, read at its last token."""

    auto = AutoModelForSequenceClassification

    def __init__(self, reward: RewardModel) -> None:
        super().__init__(reward)
        if self.model.config.num_labels != 1:
            raise UserError(
                f"reward_model: {reward.model} has {self.model.config.num_labels} labels, and a"
                " reward model has one"
            )

    def encode(self, asked: Asked) -> list[int]:
        return whole(self.tokenizer, asked)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def read(
        self, ids: torch.Tensor, mask: torch.Tensor, asked: Sequence[Asked]
    ) -> list[tuple[float, ...]]:
        logits = self.model(input_ids=ids, attention_mask=mask).logits[:, 0].float()  # (B,)
        return [(score,) for score in logits.tolist()]


def whole(tokenizer: Any, asked: Asked) -> list[int]:
    """The tokens of a prompt with its completion, ended as the model's chat template ends it."""
    if isinstance(asked.prompt, str) or tokenizer.chat_template is None:
        text = prompt_text(tokenizer, asked.prompt) + asked.text
        return [*plain(tokenizer, text), tokenizer.eos_token_id]
    answer = {"role": "assistant", "content": asked.text}
    text = tokenizer.apply_chat_template([*map(dict, asked.prompt), answer], tokenize=False)
    return plain(tokenizer, text)
