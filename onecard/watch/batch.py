"""What the completions of a step say, beyond TRL's own metrics. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from onecard.console.text import fenced
from onecard.types import Verdict
from onecard.watch.metric_names import (
    ANSWERS,
    FORMAT_PAID,
    PAID_ALIKE,
    PASS_AT_G,
    SAME_TEXT,
    SIGNAL_SHARE,
)
from rewards.base import Reward
from rewards.scoring import Scored
from rewards.steps import steps_of

COMPLETIONS_SUSPECTED = 3
ALIKE = 1e-6  # rewards that differ by no more


def measure(scored: Sequence[Scored], rewards: Sequence[Reward]) -> dict[str, float | None]:
    """The measures of one step's completions; whole groups, `rewards` as they were scored by.

    Of problems that have no right answer nothing is said about those.
    """
    if not scored:
        return {}
    paid = [completion.total for completion in scored]
    measured: dict[str, float | None] = {
        "rewards/best": max(paid),
        "rewards/worst": min(paid),
        SIGNAL_SHARE: signal_share(scored),
        SAME_TEXT: same_text_share(scored),
        PAID_ALIKE: paid_alike_share(scored),
    }
    if known := [one for one in scored if one.rollout.problem.kind != "none"]:
        measured[PASS_AT_G] = pass_at_g(known)
        measured |= {ANSWERS[verdict]: share_of(known, verdict) for verdict in Verdict}
    measured[FORMAT_PAID] = format_paid(scored, rewards)
    return measured


def share_of(scored: Sequence[Scored], verdict: Verdict) -> float:
    """The share of completions with a verdict."""
    return sum(one.rollout.verdict == verdict for one in scored) / len(scored)


def signal_share(scored: Sequence[Scored]) -> float:
    """The share of groups whose completions were not all paid alike: the others teach nothing.

    Where rewards are normalised before they are summed, one that differs is enough; where steps
    are paid, a step of any completion. TRL's
    frac_reward_zero_std misses groups whose rewards are not exact in binary, and knows none
    where scale_rewards is batch.
    """
    apart = [has_signal(group) for group in groups(scored)]
    return sum(apart) / len(apart)


def has_signal(group: Sequence[Scored]) -> bool:
    """Whether the completions of a group are not all paid alike."""
    kinds = zip(*(completion.compared for completion in group), strict=True)
    each = [[value for values in kind for value in values] for kind in kinds]
    return any(bool(paid) and max(paid) - min(paid) > ALIKE for paid in each)


def same_text_share(scored: Sequence[Scored]) -> float:
    """The share of groups whose completions are all the same text.

    They are paid alike because the policy has nothing else to say, and not because the rewards
    tell nothing apart: the remedies differ.
    """
    alike = [len({one.rollout.text for one in group}) == 1 for group in groups(scored)]
    return sum(alike) / len(alike)


def paid_alike_share(scored: Sequence[Scored]) -> float:
    """The share of groups whose texts differ, and are paid alike: too easy, too hard, or unseen."""
    alike = [
        len({one.rollout.text for one in group}) > 1 and not has_signal(group)
        for group in groups(scored)
    ]
    return sum(alike) / len(alike)


def outcomes(scored: Sequence[Scored]) -> list[list[str | int]]:
    """Of each group its problem, how many completions are right, and how many there are.

    Of problems that have no right answer nothing is said.
    """
    found: list[list[str | int]] = []
    for group in groups(scored):
        if group[0].rollout.problem.kind == "none":
            continue
        right = sum(one.rollout.verdict == Verdict.CORRECT for one in group)
        found.append([group[0].rollout.problem.id, right, len(group)])
    return found


def pass_at_g(scored: Sequence[Scored]) -> float:
    """The share of groups with at least one right completion."""
    solved = [
        any(one.rollout.verdict == Verdict.CORRECT for one in group) for group in groups(scored)
    ]
    return sum(solved) / len(solved)


def format_paid(scored: Sequence[Scored], rewards: Sequence[Reward]) -> float | None:
    """The share of completions that the least paid layout reward pays; None without one."""
    shares = []
    for place, reward in enumerate(rewards):
        if not reward.pays_for_layout:
            continue
        values = [one.scores[place] for one in scored]
        paid = [value is not None and value.value != 0.0 for value in values]
        shares.append(sum(paid) / len(paid))
    return min(shares, default=None)


def groups(scored: Sequence[Scored]) -> list[list[Scored]]:
    """The completions of each prompt, which stand together."""
    return [list(group) for _, group in groupby(scored, key=lambda one: one.rollout.group)]


def most_paid(scored: Sequence[Scored], labels: Sequence[str]) -> list[str]:
    """The completions that earn most without being right; where all are, those that earn most."""
    wrong = [one for one in scored if one.rollout.verdict != Verdict.CORRECT]
    suspected = sorted(wrong or scored, key=lambda one: -one.total)[:COMPLETIONS_SUSPECTED]
    return [
        f"earns {one.total:.3g} ({paid_text(one, labels)})\n{one.rollout.text}" for one in suspected
    ]


@dataclass(frozen=True)
class Step:
    """A step of a completion, where steps are credited."""

    text: str
    paid: float
    advantage: float


@dataclass(frozen=True)
class Shown:
    """A completion as people read it. `paid` is what each reward says of it, in one line."""

    question: str
    completion: str
    verdict: str
    paid: str
    advantage: float
    steps: list[Step]


def pick(
    scored: Sequence[Scored],
    labels: Sequence[str],
    advantages: Sequence[float],
    count: int,
    of_steps: Sequence[Sequence[float]] = (),
) -> list[Shown]:
    """`count` completions from all over a batch. `of_steps`: the advantages of each one's steps."""
    found = []
    for place in range(0, len(scored), max(1, len(scored) // count)):
        one = scored[place]
        rollout, steps = one.rollout, []
        if of_steps:
            parts = zip(steps_of(rollout.text), one.steps, of_steps[place], strict=True)
            steps = [Step(*part) for part in parts]
        asked, paid = rollout.problem.question, paid_text(one, labels)
        found.append(Shown(asked, rollout.text, rollout.verdict, paid, advantages[place], steps))
    return found


def readable(picked: Sequence[Shown]) -> str:
    """Completions as Markdown."""
    blocks = []
    for one in picked:
        blocks.append(
            f"**question**\n\n{fenced(one.question)}\n\n"
            f"**completion**\n\n{fenced(one.completion)}\n\n"
            f"{one.paid}; advantage {one.advantage:+.2f}"
        )
        if one.steps:
            blocks[-1] += steps_text(one.steps)
    return "\n\n---\n\n".join(blocks)


def steps_text(steps: Sequence[Step]) -> str:
    """A line for each step of a completion: what it was paid, its advantage, and what it says."""
    lines = ["", "", "| step | paid | advantage |", "|---|---|---|"]
    for step in steps:
        said = step.text.strip().replace("|", "\\|").replace("`", "'").replace("\n", " ")
        lines.append(f"| `{said}` | {step.paid:g} | {step.advantage:+.2f} |")
    return "\n".join(lines)


def paid_text(one: Scored, labels: Sequence[str]) -> str:
    """What each reward says of a completion: "correct_answer 1, think_format 0"."""
    parts = []
    for label, value in zip(labels, one.values(), strict=True):
        parts.append(f"{label} {'none' if value is None else format(value, 'g')}")
    return ", ".join(parts)
