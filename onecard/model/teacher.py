"""A model that a policy learns from: loaded by plain transformers, and never trained."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from onecard.machine.gpu import find_cards
from onecard.machine.precision import TORCH_NAMES, choose_precision
from onecard.types import UserError


def check_vocabulary(teacher: str, tokenizer: Any, weights: str, trusted: bool) -> None:
    """Raise UserError unless the teacher has the tokens of the policy, which starts from `weights`.

    Its chances are compared token by token, so both must mean the same by each of them.
    """
    theirs = AutoTokenizer.from_pretrained(teacher, trust_remote_code=trusted).get_vocab()
    ours = tokenizer.get_vocab()
    if different := [token for token, place in ours.items() if theirs.get(token) != place]:
        raise UserError(
            f"distill.teacher: {teacher} has other tokens than {weights}: {len(different):,} of"
            f" {len(ours):,} differ, for example {different[0]!r}; take a teacher of the same"
            " family"
        )
    sizes = []
    for name in (teacher, weights):
        config = AutoConfig.from_pretrained(name, trust_remote_code=trusted)
        sizes.append(config.get_text_config().vocab_size)
    if sizes[0] != sizes[1]:
        raise UserError(
            f"distill.teacher: {teacher} has scores for {sizes[0]:,} tokens and {weights} for"
            f" {sizes[1]:,}; TRL compares them one by one; take a teacher of the same size of"
            " vocabulary"
        )


def load_teacher(name: str, trusted: bool) -> Any:
    """The teacher, in evaluation mode, in what this machine computes in."""
    cards = find_cards()
    teacher = AutoModelForCausalLM.from_pretrained(
        name,
        dtype=getattr(torch, TORCH_NAMES[choose_precision(cards)]),
        device_map={"": 0 if cards else "cpu"},
        trust_remote_code=trusted,
    )
    return teacher.eval().requires_grad_(False)
