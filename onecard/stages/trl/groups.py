"""Groups of completions, sampled and scored before TRL makes a batch of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch

from onecard.stages.choosing import Choice
from onecard.stages.sections.dynamic_sampling import DynamicSampling
from onecard.types import Verdict
from onecard.watch.batch import has_signal
from rewards.scoring import Scored

LEAST_SHARE = 0.25  # of groups with a signal, by which the size of a further round is reckoned

# What GRPOTrainer._generate gives: lists with an entry for each completion, or None.
Generated = tuple[Any, ...]
# Rows of the training set, one for each completion -> what TRL makes of them: what was generated,
# what each reward says, and the same as we have it.
Sample = Callable[[list[dict[str, Any]]], tuple[Generated, torch.Tensor, list[Scored]]]


@dataclass(frozen=True)
class Group:
    """The completions of one prompt. `rewards`: (G, rewards)."""

    rows: list[dict[str, Any]]
    generated: Generated
    rewards: torch.Tensor
    scored: list[Scored]


@dataclass(frozen=True)
class Drawn:
    """What a step trains on, and all that was sampled for it."""

    chosen: list[Group]
    sampled: list[Group]
    rounds: int

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for group in self.chosen for row in group.rows]

    @property
    def generated(self) -> Generated:
        """As one call of GRPOTrainer._generate would have given it."""
        return joined([group.generated for group in self.chosen])

    @property
    def rewards(self) -> torch.Tensor:
        """(B, rewards)"""
        return torch.cat([group.rewards for group in self.chosen])

    @property
    def scored(self) -> list[Scored]:
        return [one for group in self.chosen for one in group.scored]

    @property
    def all_scored(self) -> list[Scored]:
        return [one for group in self.sampled for one in group.scored]

    @property
    def measured(self) -> dict[str, float]:
        """For the step's metrics: groups by what became of them."""
        with_signal = sum(has_signal(group.scored) for group in self.sampled)
        trained = sum(has_signal(group.scored) for group in self.chosen)
        return {
            "dynamic_sampling/rounds": float(self.rounds),
            "dynamic_sampling/sampled_groups": float(len(self.sampled)),
            "dynamic_sampling/unused_groups": float(with_signal - trained),
            "dynamic_sampling/groups_without_signal": float(len(self.chosen) - trained),
        }


def draw_groups(
    section: DynamicSampling,
    choice: Choice,
    rows: Mapping[str, dict[str, Any]],
    needed: int,
    size: int,
    sample: Sample,
) -> Drawn:
    """`needed` groups of `size` completions, with a signal as far as `max_rounds` gives so many.

    `rows`: the training set by problem. No round samples more groups than a step has: memory is
    planned for that. What was sampled and is not needed is not kept: a step later it would be of
    another policy, and its log-probabilities would have to be computed anew.
    """
    sampled: list[Group] = []
    useful: list[Group] = []
    rounds = 0
    while len(useful) < needed and rounds < section.max_rounds:
        missing = needed - len(useful)
        share = max(LEAST_SHARE, len(useful) / len(sampled)) if sampled else 1.0
        # Never a problem twice in a step, so far as there are others.
        asked = {group.scored[0].rollout.problem.id for group in sampled}
        count = min(needed, ceil(missing / share), len(rows) - len(asked))
        if not count:
            break
        chosen = choice.draw(count, asked)
        asked_for = [dict(rows[problem]) for problem in chosen for _ in range(size)]
        new = split(*sample(asked_for), asked_for, size)
        for problem, group in zip(chosen, new, strict=True):
            choice.tell(problem, count_right(group.scored), len(group.scored))
        sampled += new
        useful += [group for group in new if has_signal(group.scored)]
        rounds += 1
    choice.step()
    others = [group for group in sampled if not has_signal(group.scored)]
    return Drawn((useful + others)[:needed], sampled, rounds)


def split(
    generated: Generated,
    rewards: torch.Tensor,
    scored: list[Scored],
    rows: list[dict[str, Any]],
    size: int,
) -> list[Group]:
    """What one round sampled, group by group."""
    found = []
    for first in range(0, len(rows), size):
        part = slice(first, first + size)
        one = tuple(each[part] if isinstance(each, list) else each for each in generated)
        found.append(Group(rows[part], one, rewards[part], scored[part]))
    return found


def joined(parts: Sequence[Generated]) -> Generated:
    """The reverse, of what was generated."""
    columns = zip(*parts, strict=True)
    return tuple(
        [one for part in column for one in part] if isinstance(column[0], list) else column[0]
        for column in columns
    )


def count_right(scored: Sequence[Scored]) -> int:
    return sum(one.rollout.verdict == Verdict.CORRECT for one in scored)
