"""Unsloth's private names: all that this house uses of them, in one place.

tests/test_private_names.py proves that each is in the locked Unsloth. An update that takes one away
fails there, and not on somebody's card.
"""

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PrivateName:
    """`where`: the file that has it, below site-packages. `since`: seen from this version on."""

    name: str
    where: str
    why: str
    since: str


RETURNS_HIDDEN_STATES = "__UNSLOTH_SUPPORTS_RETURN_HIDDEN_STATES__"
ASKS_HIDDEN_STATES = "UNSLOTH_RETURN_HIDDEN_STATES"
PACKING_CHECKS = "_unsloth_"

NAMES = (
    PrivateName(
        RETURNS_HIDDEN_STATES,
        "unsloth/models/rl.py",
        "the mark of a forward that returns the last hidden states alone; Unsloth's own lacks it",
        "2026.10.9",
    ),
    PrivateName(
        ASKS_HIDDEN_STATES,
        "unsloth/models/llama.py",
        "the variable by which a forward is asked for hidden states; shows that it can return them",
        "2026.10.9",
    ),
    PrivateName(
        "unsloth_grpo_mini_batch",
        "unsloth/models/rl.py",
        "how many passes scoring takes; the default counts no MLP and runs out of memory",
        "2026.10.9",
    ),
    PrivateName(
        "_unsloth_load_lora",
        "unsloth/models/rl_replacements.py",
        "the hand-over of the adapter to vLLM, which writes to the working directory",
        "2026.10.9",
    ),
    PrivateName(
        "_unsloth_seq_packing_grad_ok",
        "unsloth_zoo/rl_replacements.py",
        "results of its packing check on the model; those of made-up tokens must be forgotten",
        "2026.10.9",
    ),
)


def mark_forward(model: Any) -> None:
    """Tell Unsloth's trainer that its own forward returns the last hidden states when asked.

    It does so in Llama and Qwen. Unmarked (2026.10.9), the trainer asks for those of all layers and
    uses the last: docs/memory.md has what that takes.
    """
    if can_return_hidden_states(model):
        setattr(model, RETURNS_HIDDEN_STATES, True)


def can_return_hidden_states(model: Any) -> bool:
    """Whether the model's forward is Unsloth's own, which returns hidden states when asked."""
    code = getattr(inspect.unwrap(type(model).forward), "__code__", None)
    return code is not None and ASKS_HIDDEN_STATES in code.co_consts


@contextmanager
def hidden_states_asked() -> Iterator[None]:
    """Inside, such a forward returns the last hidden states, (B, T, H), in the place of logits."""
    before = os.environ.get(ASKS_HIDDEN_STATES)
    os.environ[ASKS_HIDDEN_STATES] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[ASKS_HIDDEN_STATES]
        else:
            os.environ[ASKS_HIDDEN_STATES] = before


def is_generated_config(config: Any) -> bool:
    """Whether a GRPOConfig is the one that Unsloth generates for CUDA."""
    return hasattr(config, "unsloth_grpo_mini_batch")


def score_in_one_pass(config: Any) -> None:
    """Have Unsloth score what it is given at once; onecard/stages/trl/build.py cuts it up."""
    if is_generated_config(config):
        config.unsloth_grpo_mini_batch = 1


def hand_over_adapter(vllm_generation: Any, live_adapter: Callable[[], Any]) -> None:
    """Give vLLM the adapter by our way: Unsloth's own writes to the working directory."""
    vllm_generation._unsloth_load_lora = lambda *_, **__: live_adapter()


def forget_packing_checks(model: Any, known: set[str]) -> None:
    """Forget what Unsloth has noted on a model, but for the names in `known`.

    It holds its packed forward against a plain one, once for each size. Of tokens that are all
    alike it would believe any.
    """
    for name in set(vars(model)) - known:
        if name.startswith(PACKING_CHECKS):
            delattr(model, name)
