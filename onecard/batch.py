"""What a step's completions say beyond TRL's own metrics. Pure; `batch` is TRL's table: prompt,
completion, rewards by name, advantages.
"""

import math
from collections.abc import Sequence
from typing import Any

from onecard.console.text import fenced
from rewards.base import weighted_sum

# by TRL, with vLLM alone; nats, mean over the sampled tokens
DRIFT = "sampling/sampling_logp_difference/mean"
COMPLETIONS_SUSPECTED = 3
ALIKE = 1e-6  # rewards that differ by no more


def measure(
    batch: dict[str, Any], weights: list[float], num_generations: int
) -> dict[str, float | None]:
    """The best and the worst paid completion, the share of groups with a signal, and with
    correct_answer that of groups that it solves.
    """
    paid = totals(batch, weights)
    measured = {
        "rewards/best": max(paid, default=None),
        "rewards/worst": min(paid, default=None),
        "rewards/signal_share": signal_share(batch, weights, num_generations),
    }
    if right := batch["rewards"].get("correct_answer"):
        measured["rewards/pass@G"] = pass_at_g(list(right), num_generations)
    return measured


def totals(batch: dict[str, Any], weights: list[float]) -> list[float]:
    """What each completion was paid."""
    return [weighted_sum(weights, row) for row in zip(*batch["rewards"].values(), strict=True)]


def signal_share(batch: dict[str, Any], weights: list[float], num_generations: int) -> float:
    """The share of groups whose completions were not all paid alike: the others teach nothing.

    TRL's frac_reward_zero_std misses groups whose rewards are not exact in binary, and knows none
    where scale_rewards is batch.
    """
    return share_of_unequal(totals(batch, weights), num_generations)


def share_of_unequal(paid: list[float], num_generations: int) -> float:
    apart = [max(group) - min(group) > ALIKE for group in groups(paid, num_generations)]
    return sum(apart) / len(apart)


def groups(values: Sequence[float], num_generations: int) -> list[Sequence[float]]:
    """The values of a batch, cut into those of each prompt's completions, which stand together."""
    return [
        values[start : start + num_generations] for start in range(0, len(values), num_generations)
    ]


def pass_at_g(right: Sequence[float], num_generations: int) -> float | None:
    """The share of groups with at least one right completion, from correct_answer's column. NaN is
    not applicable; None without a group.
    """
    graded = [
        group
        for group in groups(right, num_generations)
        if not all(math.isnan(value) for value in group)
    ]
    return (
        sum(any(value > 0 for value in group) for group in graded) / len(graded) if graded else None
    )


def most_paid(batch: dict[str, Any], weights: list[float]) -> list[str]:
    """The completions of a batch that earn most without being right; where correct_answer calls
    none wrong, those that earn most.
    """
    names, columns, paid = (
        list(batch["rewards"]),
        [list(column) for column in batch["rewards"].values()],
        totals(batch, weights),
    )
    right = list(batch["rewards"].get("correct_answer", []))
    wrong = [index for index, value in enumerate(right) if value == 0]
    shown = sorted(wrong or range(len(paid)), key=lambda index: -paid[index])[
        :COMPLETIONS_SUSPECTED
    ]
    return [
        f"earns {paid[index]:.3g}"
        f" ({paid_text(names, [column[index] for column in columns])})\n"
        + batch["completion"][index][-1]["content"]
        for index in shown
    ]


def paid_text(names: list[str], values: list[float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in zip(names, values, strict=True))


def readable(batch: dict[str, Any], count: int) -> str:
    """`count` completions from all over a batch, as Markdown: question, completion, each reward,
    advantage.
    """
    blocks = []
    size = len(batch["completion"])
    for index in range(0, size, max(1, size // count)):
        paid = ", ".join(f"{name} {values[index]:g}" for name, values in batch["rewards"].items())
        question = batch["prompt"][index][-1]["content"]
        completion = batch["completion"][index][-1]["content"]
        blocks.append(
            f"**question**\n\n{fenced(question)}\n\n**completion**\n\n{fenced(completion)}\n\n"
            f"{paid}; advantage {batch['advantages'][index]:+.2f}"
        )
    return "\n\n---\n\n".join(blocks)
