"""A completion as tokens: where it ends, and the text that it says. Imports nothing heavy."""

from collections.abc import Sequence
from typing import Any


def up_to_end(row: list[int], ends: set[int]) -> list[int]:
    """The tokens up to the first end token, and with it."""
    end = next((place for place, token in enumerate(row) if token in ends), len(row))
    return row[: end + 1]


def decode(tokenizer: Any, ids: Sequence[int], ends: set[int]) -> str:
    """The text of a completion, without its end token.

    Special tokens stay in it: where <think> is one, rewards and evaluation are to see it.
    """
    said = [token for token in ids if token not in ends]
    # Else transformers says for many tokenizers that it leaves that undone.
    text: str = tokenizer.decode(said, clean_up_tokenization_spaces=False)
    return text


def end_tokens(generation_config: Any, tokenizer: Any) -> set[int]:
    """The tokens that end a completion.

    They are the tokenizer's end and padding, and those that the model's generation config declares.
    """
    declared = generation_config.eos_token_id
    return {
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
        *(declared if isinstance(declared, list) else [declared]),
    } - {None}
