"""Do a recipe's rewards pay for what they mean to pay for?

Six completions are scored. The perfect one must earn most, and noise must earn nothing.
"""

from dataclasses import dataclass

from onecard.types import Problem, Rollout, UserError
from rewards.answer.markers import marked
from rewards.base import Fault, Outcome
from rewards.rules.random_control import RandomReward
from rewards.scoring import BatchScorer, weighted_sum

PROBLEM = Problem("self-test", "Ann has 7 apples, buys 6 and eats 1. How many has she now?", "12")
WORKING = (
    "First, she has 7 + 6 = 13 apples, because she buys 6. Next, she eats 1, so 13 - 1 = 12 are"
    " left. Finally, let me check: 12 + 1 = 13 and 13 - 6 = 7, therefore the answer is right."
)
NOISE = "asdf ;;; 12 12 12 qwer \u202e\x00 ]]> lorem 12"


@dataclass(frozen=True)
class Case:
    """What each reward paid for one completion, and the weighted total."""

    name: str
    values: dict[str, float | None]
    total: float


def run_cases(scorer: BatchScorer, think_opened: bool = False) -> list[Case]:
    """Six completions, scored; the names say what they are. Raises UserError where a reward
    fails.
    """
    answer_format = scorer.answer.format
    texts = {
        "perfect": f"<think>{WORKING}</think>{marked('12', answer_format)}",
        "empty": "",
        "garbage": NOISE,
        "truncated": f"<think>{WORKING[:60]}",
        "right, unformatted": f"{WORKING} The answer is 12.",
        "formatted, wrong": f"<think>{WORKING}</think>{marked('13', answer_format)}",
    }
    rollouts = []
    for place, (name, text) in enumerate(texts.items()):
        if think_opened:
            text = text.removeprefix("<think>")
        tokens, cut = len(text.split()), name == "truncated"
        rollouts.append(Rollout(PROBLEM, text, tokens, cut, think_opened, place))
    rows = outcomes_of(scorer, scorer.grade(rollouts))
    return [case_of(scorer, name, row) for name, row in zip(texts, rows, strict=True)]


def case_of(scorer: BatchScorer, name: str, row: list[Outcome]) -> Case:
    """One completion's case; a control, which pays at random on purpose, is left out."""
    weights, scores, values = [], [], {}
    for reward, outcome in zip(scorer.rewards, row, strict=True):
        if isinstance(reward, RandomReward):
            continue
        assert not isinstance(outcome, Fault)
        weights.append(reward.weight)
        scores.append(outcome)
        values[reward.label] = None if outcome is None else outcome.value
    return Case(name, values, weighted_sum(weights, scores))


def outcomes_of(scorer: BatchScorer, rollouts: list[Rollout]) -> list[list[Outcome]]:
    """What each reward says of each graded rollout, alone. Raises UserError naming one that fails.

    One at a time: the cases are no group to compare, and many a function of a user's own sets
    something up at its first call, which two threads must not do at once.
    """
    rows = [scorer.outcomes([rollout])[0] for rollout in rollouts]
    for rollout, row in zip(rollouts, rows, strict=True):
        for reward, outcome in zip(scorer.rewards, row, strict=True):
            if not isinstance(outcome, Fault):
                continue
            error = outcome.error
            if isinstance(error, UserError):
                raise error
            raise UserError(
                f"reward {reward.label} fails on {rollout.text[:40]!r}:"
                f" {type(error).__name__}: {error}"
            ) from error
    return rows


def check_cases(cases: list[Case]) -> list[str]:
    """What is wrong with the ranking, one sentence each; [] if nothing is."""
    totals = {case.name: case.total for case in cases}
    faults = []
    for name, total in totals.items():
        if total > totals["perfect"]:
            faults.append(
                f"the {name} completion earns {total:g}, more than the perfect one's"
                f" {totals['perfect']:g}"
            )
    for name in ("empty", "garbage"):
        if totals[name] > 0:
            faults.append(f"the {name} completion earns {totals[name]:g}; it must earn nothing")
    return faults


def check_rewards(scorer: BatchScorer, think_opened: bool) -> None:
    """The self-test, before step 1. Raises UserError with what is wrong."""
    if faults := check_cases(run_cases(scorer, think_opened)):
        raise UserError(
            f"rewards: {'; '.join(faults)}. `python -m rewards RECIPE --self-test` shows it"
        )
