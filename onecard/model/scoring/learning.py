"""A model that scores whole completions and is trained on right and wrong ones, in 32 bit."""

from collections.abc import Sequence
from typing import Any

import torch

from onecard.model.adapter import copied
from onecard.model.scoring.sequence import SequenceModel
from rewards.judges.reward_model import Asked, RewardModel

LONGEST_GRADIENT = 1.0


class LearningSequenceModel(SequenceModel):
    """All its weights learn."""

    precision = "float32"

    def __init__(self, reward: RewardModel, learning_rate: float) -> None:
        super().__init__(reward)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=learning_rate, weight_decay=0.0
        )

    def learn(self, asked: Sequence[Asked], right: Sequence[bool]) -> float:
        """One optimizer step on completions with their labels; the loss before it.

        Those that are too long are left out.
        """
        rows = [self.encode(one) for one in asked]
        kept = [place for place, ids in enumerate(rows) if len(ids) <= self.reward.max_length]
        if not kept:
            return 0.0
        ids, mask = self.padded([rows[place] for place in kept])
        labels = torch.tensor([float(right[place]) for place in kept], device=ids.device)  # (B,)
        with torch.enable_grad():
            logits = self.model(input_ids=ids, attention_mask=mask).logits[:, 0]  # (B,)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), LONGEST_GRADIENT)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())

    def state(self) -> dict[str, Any]:
        return {"weights": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: copied(tensor) for name, tensor in self.model.state_dict().items()}

    def put_weights(self, weights: dict[str, torch.Tensor]) -> None:
        self.model.load_state_dict(weights)

    def load_state(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
