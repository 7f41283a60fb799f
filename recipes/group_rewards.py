"""Rewards that compare the completions of a prompt, as examples: copy one and change it.

    rewards:
      - {name: correct_answer}
      - {name: custom, function: recipes/group_rewards.py:shortest_right, weight: 0.2}

They have TRL's signature, so they work in a notebook too. The completions of a prompt stand
together in a batch, and all of them are there.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

Chat = Sequence[dict[str, str]]


def shortest_right(
    prompts: Sequence[Chat], completions: Sequence[Chat], answer: Sequence[Any], **_: Any
) -> list[float]:
    """1 for the shortest completion of a prompt that has the right answer, 0 for all others."""
    texts = [completion[-1]["content"] for completion in completions]
    shortest: dict[str, int] = {}
    for prompt, text, gold in zip(prompts, texts, answer, strict=True):
        if is_right(text, gold):
            key = str(prompt)
            shortest[key] = min(shortest.get(key, len(text)), len(text))
    return [
        float(is_right(text, gold) and len(text) == shortest[str(prompt)])
        for prompt, text, gold in zip(prompts, texts, answer, strict=True)
    ]


def rank_by_length(prompts: Sequence[Chat], completions: Sequence[Chat], **_: Any) -> list[float]:
    """From 1 for the shortest completion of a prompt down to 0 for the longest."""
    lengths = [len(completion[-1]["content"]) for completion in completions]
    of_group = defaultdict(list)
    for prompt, length in zip(prompts, lengths, strict=True):
        of_group[str(prompt)].append(length)
    paid = []
    for prompt, length in zip(prompts, lengths, strict=True):
        group = sorted(of_group[str(prompt)], reverse=True)
        paid.append(group.index(length) / max(1, len(group) - 1))
    return paid


def different(prompts: Sequence[Chat], completions: Sequence[Chat], **_: Any) -> list[float]:
    """Diversity: 1 for a completion unlike all others of its prompt, 1/k for k that are alike."""
    keys = [
        (str(prompt), completion[-1]["content"].strip())
        for prompt, completion in zip(prompts, completions, strict=True)
    ]
    counts = Counter(keys)
    return [1 / counts[key] for key in keys]


def is_right(text: str, gold: Any) -> bool:
    return text.rstrip().endswith(f"<answer>{gold}</answer>")
