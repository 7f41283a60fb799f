"""Does a recipe's sum of rewards pay for what it means to pay for? Six completions, of which the
perfect one must earn most.
"""

from dataclasses import dataclass

from onecard.types import Rollout, Sample, UserError
from rewards.answer import format_read_by, marked
from rewards.base import Reward, value_of, weighted_sum
from rewards.control import RandomReward

SAMPLE = Sample("self-test", "Ann has 7 apples, buys 6 and eats 1. How many has she now?", "12")
WORKING = (
    "First, she has 7 + 6 = 13 apples, because she buys 6. Next, she eats 1, so 13 - 1 = 12 are"
    " left. Finally, let me check: 12 + 1 = 13 and 13 - 6 = 7, therefore the answer is right."
)


@dataclass(frozen=True)
class Case:
    """What each reward paid for one completion, and the weighted total."""

    name: str
    values: dict[str, float | None]
    total: float


def run_cases(rewards: list[Reward], think_opened: bool = False) -> list[Case]:
    """A perfect, an empty, a garbage, a truncated, a right-but-unformatted and a
    formatted-but-wrong completion, scored.
    """
    answer_format = format_read_by(rewards)
    rewards = [
        reward for reward in rewards if not isinstance(reward, RandomReward)
    ]  # a control pays at random on purpose
    texts = {
        "perfect": f"<think>{WORKING}</think>{marked('12', answer_format)}",
        "empty": "",
        "garbage": "asdf ;;; 12 12 12 qwer \u202e\x00 ]]> lorem 12",
        "truncated": f"<think>{WORKING[:60]}",
        "right, unformatted": f"{WORKING} The answer is 12.",
        "formatted, wrong": f"<think>{WORKING}</think>{marked('13', answer_format)}",
    }
    cases = []
    for name, text in texts.items():
        text = text.removeprefix("<think>") if think_opened else text
        rollout = Rollout(SAMPLE, text, len(text.split()), name == "truncated", think_opened)
        values = {reward.label: checked(reward, rollout) for reward in rewards}
        cases.append(
            Case(
                name,
                values,
                weighted_sum([reward.weight for reward in rewards], list(values.values())),
            )
        )
    return cases


def checked(reward: Reward, rollout: Rollout) -> float | None:
    """A reward's value; what it raises becomes a UserError with its name."""
    try:
        return value_of(reward, rollout)
    except UserError:
        raise
    except Exception as error:  # a function of the user's own may raise anything
        raise UserError(
            f"reward {reward.label} fails on {rollout.text[:40]!r}: {type(error).__name__}: {error}"
        ) from error


def check_cases(cases: list[Case]) -> list[str]:
    """What is wrong with the ranking, one sentence each: none may earn more than the perfect one,
    and noise nothing at all.
    """
    totals = {case.name: case.total for case in cases}
    faults = [
        f"the {name} completion earns {total:g}, more than the perfect one's {totals['perfect']:g}"
        for name, total in totals.items()
        if total > totals["perfect"]
    ]
    faults += [
        f"the {name} completion earns {totals[name]:g}; it must earn nothing"
        for name in ("empty", "garbage")
        if totals[name] > 0
    ]
    return faults
