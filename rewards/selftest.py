"""Does a recipe's sum of rewards pay for what it means to pay for? Six completions that must rank as a person would rank them."""

from dataclasses import dataclass

from onecard.types import Rollout, Sample
from rewards.answer import CorrectAnswer
from rewards.base import Reward
from rewards.control import RandomReward

SAMPLE = Sample("self-test", "Ann has 7 apples, buys 6 and eats 1. How many has she now?", "12")
WORKING = (
    "First, she has 7 + 6 = 13 apples, because she buys 6. Next, she eats 1, so 13 - 1 = 12 are left. "
    "Finally, let me check: 12 + 1 = 13 and 13 - 6 = 7, therefore the answer is right."
)


@dataclass(frozen=True)
class Case:
    """One completion, what each reward paid for it, and the weighted total."""

    name: str
    rollout: Rollout
    values: dict[str, float | None]
    total: float


def marked(answer: str, answer_format: str) -> str:
    return {"hash": f"\n#### {answer}", "boxed": f"\\boxed{{{answer}}}"}.get(answer_format, f"<answer>{answer}</answer>")


def run_cases(rewards: list[Reward], think_opened: bool = False) -> list[Case]:
    """A perfect, an empty, a garbage, a truncated, a right-but-unformatted and a formatted-but-wrong completion, scored."""
    answer_format = next((r.answer_format for r in rewards if isinstance(r, CorrectAnswer)), "auto")
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
        scores = {reward.label: reward.score(rollout) for reward in rewards}
        values = {label: None if score is None else score.value for label, score in scores.items()}
        total = sum(reward.weight * (values[reward.label] or 0.0) for reward in rewards)
        cases.append(Case(name, rollout, values, total))
    return cases


def check_cases(rewards: list[Reward], cases: list[Case]) -> list[str]:
    """What is wrong with the ranking, one sentence each; nothing for a control, which pays at random on purpose."""
    if any(isinstance(reward, RandomReward) for reward in rewards):
        return []
    totals = {case.name: case.total for case in cases}
    faults = [
        f"the {name} completion earns {total:g}, more than the perfect one's {totals['perfect']:g}"
        for name, total in totals.items()
        if total > totals["perfect"]
    ]
    faults += [f"the {name} completion earns {totals[name]:g}; it must earn nothing" for name in ("empty", "garbage") if totals[name] > 0]
    return faults
