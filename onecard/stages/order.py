"""The stream of prompts that GRPO draws from."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Sampler


class PromptOrder(Sampler[int]):
    """TRL's order of prompts, shuffled anew for each epoch by seed and epoch alone.

    So it can be begun at any epoch: a resumed run draws what the interrupted one would have drawn.
    `repeated` is TRL's RepeatSampler, which gives each prompt once for each of its completions.
    """

    def __init__(self, repeated: Any, seed: int) -> None:
        self.repeated, self.seed, self.epoch = repeated, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.repeated.shuffle:
            self.repeated.generator.manual_seed(self.seed + self.epoch)
        return iter(self.repeated)

    def __len__(self) -> int:
        return len(self.repeated)
