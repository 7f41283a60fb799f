"""A number for each step of a completion: process reward models."""

from collections.abc import Sequence

import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForTokenClassification

from onecard.model.scoring.base import Scoring, prompt_text
from rewards.judges.reward_model import Asked

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
            ids = [*ids, *self.plain(step.strip()), mark]
            ends.append(len(ids) - 1)
        return ids, ends

    def chances(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        logits = self.model(input_ids=ids, attention_mask=mask)[0]  # (B, T, 2)
        return logits.softmax(-1)[..., 1]


class MathShepherd(StepModel):
    """A causal model that says + or - after the mark at the end of each step."""

    auto = AutoModelForCausalLM

    def marked(self, asked: Asked) -> tuple[list[int], list[int]]:
        mark = self.plain(SHEPHERD_STEP)[-1]
        question = asked.prompt
        if not isinstance(question, str):
            question = question[-1]["content"]
        ids, ends = self.plain(f"{question} "), []
        for step in asked.steps:
            ids = [*ids, *self.plain(f"{step.strip()} "), mark, *self.plain("\n")]
            ends.append(len(ids) - 1 - len(self.plain("\n")))
        return ids, ends

    def chances(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        words = [self.plain(f" {word}")[-1] for word in (SHEPHERD_GOOD, SHEPHERD_BAD)]
        logits = self.model(input_ids=ids, attention_mask=mask).logits[..., words]  # (B, T, 2)
        return logits.softmax(-1)[..., 0]
