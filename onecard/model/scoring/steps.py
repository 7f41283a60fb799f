"""A number for each step of a completion: process reward models."""

import re
from collections.abc import Sequence
from itertools import starmap

import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForTokenClassification

from onecard.model.scoring.base import Scoring, prompt_text
from onecard.types import UserError
from rewards.judges.reward_model import Asked, RewardModel

# Their words, as the models' cards have them.
QWEN_SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
QWEN_STEP = "<extra_0>"
SHEPHERD_STEP, SHEPHERD_GOOD, SHEPHERD_BAD = "ки", "+", "-"


class StepModel(Scoring):
    """A number for each step, read at the token that ends it."""

    def encode(self, asked: Asked) -> list[int]:
        ids, _ = self.marked(asked)
        return ids

    def marked(self, asked: Asked) -> tuple[list[int], list[int]]:
        """The tokens, and the place of the one that ends each step."""
        raise NotImplementedError

    def chances(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, T) how good the step is that ends at a token."""
        raise NotImplementedError

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def read(
        self, ids: torch.Tensor, mask: torch.Tensor, asked: Sequence[Asked]
    ) -> list[tuple[float, ...]]:
        chances = self.chances(ids, mask).float().cpu()
        places = [self.marked(one)[1] for one in asked]
        return [
            tuple(float(row[place]) for place in ends)
            for row, ends in zip(chances, places, strict=True)
        ]


class TokenModel(StepModel):
    """Token classification with one or two labels; the last one is for good steps."""

    auto = AutoModelForTokenClassification

    def marked(self, asked: Asked) -> tuple[list[int], list[int]]:
        ids, ends = self.plain(prompt_text(self.tokenizer, asked.prompt)), []
        for step in asked.steps:
            ids = ids + self.plain(step)
            ends.append(len(ids) - 1)
        return ids, ends

    def chances(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        logits = self.model(input_ids=ids, attention_mask=mask).logits  # (B, T, labels)
        if logits.size(-1) == 1:
            return logits[..., 0].sigmoid()
        return logits.softmax(-1)[..., -1]


class QwenPrm(StepModel):
    """Qwen2.5-Math-PRM: two labels at each <extra_0>."""

    auto = AutoModel

    def marked(self, asked: Asked) -> tuple[list[int], list[int]]:
        mark = self.tokenizer.convert_tokens_to_ids(QWEN_STEP)
        ids, ends = self.plain(prompt_text(self.tokenizer, asked.prompt, QWEN_SYSTEM)), []
        for step in asked.steps:
            ids = [*ids, *self.plain(step.replace(QWEN_STEP, " ").strip()), mark]
            ends.append(len(ids) - 1)
        return ids, ends

    def chances(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        logits = self.model(input_ids=ids, attention_mask=mask)[0]  # (B, T, 2)
        return logits.softmax(-1)[..., 1]


class MathShepherd(StepModel):
    """A causal model that says + or - at the mark after each step.

    As its card has it, the text is tokenized as a whole: its tokenizer writes a space before
    everything that it is given, so that parts would have others. A mark in a completion is not one.
    """

    auto = AutoModelForCausalLM

    def __init__(self, reward: RewardModel) -> None:
        super().__init__(reward)
        self.mark = self.tokenizer(SHEPHERD_STEP)["input_ids"][-1]
        self.words = self.plain(f"{SHEPHERD_GOOD} {SHEPHERD_BAD}")
        if len(self.words) != 2:
            raise UserError(
                f"reward_model: {reward.model} has no two tokens for + and -, so it is no reward"
                f" model of the family {reward.family}"
            )

    def marked(self, asked: Asked) -> tuple[list[int], list[int]]:
        question = asked.prompt
        if not isinstance(question, str):
            question = question[-1]["content"]
        text = question + " " + "\n".join(starmap(shepherd_line, enumerate(asked.steps, 1)))
        ids = self.tokenizer(text)["input_ids"]
        ends = [place for place, token in enumerate(ids) if token == self.mark]
        return ids, ends[len(ends) - len(asked.steps) :]  # the question may have the word

    def chances(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        logits = self.model(input_ids=ids, attention_mask=mask).logits[..., self.words]  # (B, T, 2)
        return logits.softmax(-1)[..., 0]


def shepherd_line(number: int, step: str) -> str:
    """A step as the model was shown them: `Step 1: ... ки`."""
    text = step.replace(SHEPHERD_STEP, " ").strip()
    if not re.match(r"Step \d+:", text):
        text = f"Step {number}: {text}"
    return f"{text} {SHEPHERD_STEP}"
