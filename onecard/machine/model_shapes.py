"""The shape of a language model, from its config.json: enough for a memory plan."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

MADE_HERE = ("tiny", "random-qwen2.5-0.5b")  # with random weights, by onecard/model/random_model.py
# of the shipped recipes' models, so that a plan works offline
STORED = Path(__file__).parent / "model_facts.json"


@dataclass(frozen=True)
class ModelShape:
    """A dense decoder with gated MLPs, as Qwen and Llama are. Sizes count numbers, not bytes."""

    model_type: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int  # its own number: in Qwen3-4B it is not hidden_size / num_attention_heads
    vocab_size: int
    tie_word_embeddings: bool

    @cached_property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each linear layer of one block, by the name that LoRA targets."""
        hidden, inner, queries, keys = self.widths.values()
        return {
            "q_proj": (hidden, queries),
            "k_proj": (hidden, keys),
            "v_proj": (hidden, keys),
            "o_proj": (queries, hidden),
            "gate_proj": (hidden, inner),
            "up_proj": (hidden, inner),
            "down_proj": (inner, hidden),
        }

    @property
    def widths(self) -> dict[str, int]:
        """How many numbers a token has, by what they are."""
        queries = self.num_attention_heads * self.head_dim
        keys = self.num_key_value_heads * self.head_dim
        return {
            "hidden": self.hidden_size,
            "mlp": self.intermediate_size,
            "queries": queries,
            "keys": keys,
        }

    @property
    def linear_parameters(self) -> int:
        """Weights of the blocks' linear layers: what 4-bit quantization quantizes."""
        return self.num_hidden_layers * sum(
            inputs * outputs for inputs, outputs in self.linears.values()
        )

    @property
    def other_parameters(self) -> int:
        """Embeddings, output head, norms and biases: what stays in 16 bit."""
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        per_block = 2 * self.hidden_size
        if self.model_type == "qwen2":  # biases of q, k and v
            per_block += (self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim
        if self.model_type == "qwen3":  # norms of q and k
            per_block += 2 * self.head_dim
        return embeddings + self.num_hidden_layers * per_block + self.hidden_size

    @property
    def parameters(self) -> int:
        return self.linear_parameters + self.other_parameters

    def lora_parameters(self, rank: int, target_modules: Collection[str]) -> int:
        """Weights of an adapter on the layers of these names."""
        return (
            self.num_hidden_layers
            * rank
            * sum(sum(self.linears[name]) for name in target_modules if name in self.linears)
        )

    @property
    def cache_per_token(self) -> int:
        """Keys and values that one token leaves in the cache, in 16-bit numbers."""
        return 2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim


def stored_shape(name: str) -> ModelShape | None:
    """The shape of a model in model_facts.json; None of any other."""
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    return ModelShape(**stored[name]) if name in stored else None


def load_shape(name: str) -> ModelShape | None:
    """The shape of a stored model, of one in a folder, or of one in the hub cache.

    None where its config is not on this disk.
    """
    if known := stored_shape(name):
        return known
    file = Path(name) / "config.json"
    if not file.is_file():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            cached = try_to_load_from_cache(name, "config.json")
        except HFValidationError:
            return None
        if not isinstance(cached, str):
            return None
        file = Path(cached)
    return read_shape(json.loads(file.read_text(encoding="utf-8")))


def read_shape(config: dict[str, Any]) -> ModelShape | None:
    """A shape from a config.json; None for an architecture that this arithmetic does not know."""
    try:
        heads = config["num_attention_heads"]
        return ModelShape(
            model_type=config["model_type"],
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            num_hidden_layers=config["num_hidden_layers"],
            num_attention_heads=heads,
            num_key_value_heads=config.get("num_key_value_heads", heads),
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            vocab_size=config["vocab_size"],
            tie_word_embeddings=config.get("tie_word_embeddings", False),
        )
    except KeyError:
        return None
