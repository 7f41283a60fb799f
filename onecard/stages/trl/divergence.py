"""How far a policy's next tokens are from its teacher's.

A model is a decoder, which gives hidden states, and a head, which makes a score for each token of
the vocabulary of them. On a CPU the scores of all tokens are held at once. On a card they would
not fit: TRL's Triton kernel, that of its DistillationTrainer, makes and forgets them in tiles.
"""

from typing import Any

import torch
from trl.experimental.gkd import GKDTrainer

from onecard.machine.gpu import find_cards
from onecard.model.unsloth_private_names import can_return_hidden_states, hidden_states_asked


def hidden_states(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """(B, T, H) of tokens (B, T) that are padded on the right.

    Each token sees those before it, so that padding after them needs no mask. Unsloth's forward on
    a card knows none in training.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if can_return_hidden_states(base):
        with hidden_states_asked():
            found = model(input_ids=tokens, use_cache=False).logits
    else:
        found = base.get_decoder()(input_ids=tokens, use_cache=False).last_hidden_state
    assert isinstance(found, torch.Tensor)
    return found


def divergence(
    policy: Any,
    policy_states: torch.Tensor,  # (N, H), of the places whose next token is compared
    teacher: Any,
    teacher_states: torch.Tensor,  # (N, H of the teacher)
    beta: float,
    temperature: float,
) -> torch.Tensor:
    """Its sum over N places, in nats. `beta` is TRL's: 1 is the reverse KL divergence."""
    if find_cards():
        from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

        ours, theirs = (
            (states, head.weight, getattr(head, "bias", None))
            for states, head in (
                (policy_states, policy.get_output_embeddings()),
                (teacher_states, teacher.get_output_embeddings()),
            )
        )
        changes = (*score_changes(policy), *score_changes(teacher))
        apart, _ = ChunkedDivergenceFunction.apply(*ours, *theirs, beta, temperature, *changes)
        return apart.sum()  # type: ignore[no-any-return]
    found = GKDTrainer.generalized_jsd_loss(
        scores(policy, policy_states),
        scores(teacher, teacher_states),
        beta=beta,
        temperature=temperature,
        reduction="sum",
    )
    assert isinstance(found, torch.Tensor)
    return found


def scores(model: Any, states: torch.Tensor) -> torch.Tensor:
    """(N, vocabulary), in 32 bit."""
    scale, cap = score_changes(model)
    found = model.get_output_embeddings()(states).float() * scale
    return torch.tanh(found / cap) * cap if cap else found


def score_changes(model: Any) -> tuple[float, float | None]:
    """By what a model's own forward multiplies its scores, and to what it caps them (Gemma)."""
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0  # Cohere's
    divided = getattr(config, "logits_scaling", None) or 1.0  # Granite's
    return scale / divided, getattr(config, "final_logit_softcapping", None)
