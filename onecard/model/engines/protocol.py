"""What every engine can do, so that evaluation need not know which one it asks."""

from collections.abc import Collection, Iterator
from typing import Any, Protocol

from onecard.types import Completion, Sampling


class Engine(Protocol):
    """What generates: the policy in training, a transformers model, or vLLM standing alone."""

    @property
    def tokenizer(self) -> Any: ...

    @property
    def context(self) -> int:
        """The longest sequence, prompt and completion together, in tokens."""

    def description(self) -> dict[str, Any]:
        """What answers, as result.json keeps it: weights, precision, versions."""

    def generate(
        self, prompts: list[list[int]], sampling: Sampling, done: Collection[int] = ()
    ) -> Iterator[dict[int, Completion]]:
        """Completions of tokenized prompts, as they are finished, by the prompt's index.

        Those of `done` need not be made.
        """
