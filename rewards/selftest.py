"""Do a recipe's rewards pay for what they mean to pay for?

Six completions of a problem are scored. GRPO sees differences alone, so the order counts and not
the zero: no noise may earn as much as a right answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from onecard.types import Messages, Problem, Rollout, UserError
from rewards.answer.kinds.table import KINDS
from rewards.base import Fault, Outcome
from rewards.rules.random_control import RandomReward
from rewards.scoring import BatchScorer, total_of

# Where no row is at hand.
PROBLEM = Problem("self-test", "Ann has 7 apples, buys 6 and eats 1. How many has she now?", "12")
CODE_PROBLEM = Problem(
    "self-test",
    "Write add(a, b).",
    '{"setup": "", "tests": ["assert add(1, 2) == 3", "assert add(2, 2) == 4"], "names": ["add"]}',
    solution="def add(a, b):\n    return a + b",
    kind="code",
)
# No number in it: a reward may read the last one of a text.
WORKING = (
    "First, I read the question with care, because every word of it counts. Next, I work out what"
    " is asked, so that nothing is left. Finally, let me check: it fits the question, therefore the"
    " answer is right."
)
NOISE = ("asdf ;;;", "12 12 12", "qwer \u202e\x00", "]]>", "lorem", "305", "zxcv", "%%")
NOISY = ("empty", "garbage")
RIGHT = ("perfect", "right, unformatted")
FILLING = "filling"
ROWS_ASKED = 3


@dataclass(frozen=True)
class Asked:
    """How a problem is put, as far as rewards see it.

    `encode` gives a text's tokens, where there is a tokenizer.
    """

    problem: Problem = PROBLEM
    prompt: str | Messages = ()
    think_opened: bool = False
    encode: Callable[[str], Sequence[int]] | None = None


@dataclass(frozen=True)
class Case:
    """What each reward paid for one completion, and the weighted total."""

    name: str
    values: dict[str, float | None]
    total: float


@dataclass(frozen=True)
class Findings:
    """What the cases of a problem show: what is refused, and what is told."""

    refused: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def texts_of(problem: Problem, scorer: BatchScorer) -> dict[str, str]:
    """Completions of a problem, by what they are."""
    kind = KINDS.get(problem.kind)
    right = kind.answer_of(problem) if kind else None
    if kind is None or right is None:  # nobody knows what is right
        return {
            "empty": "",
            "garbage": noise_without(""),
            "truncated": f"<think>{WORKING[:60]}",
            "only working": f"<think>{WORKING}</think>",
        }
    answer_format, wrong = scorer.answer.format, kind.another(problem.gold)
    return {
        "perfect": f"<think>{WORKING}</think>{kind.marked(right, answer_format)}",
        "empty": "",
        "garbage": noise_without(right),
        "truncated": f"<think>{WORKING[:60]}",
        "right, unformatted": f"{WORKING} The answer is {right}.",
        "formatted, wrong": f"<think>{WORKING}</think>{kind.marked(wrong, answer_format)}",
    }


def made_up(kind: str | None) -> Problem:
    """A problem to ask where no row is at hand, for answers of a kind."""
    return CODE_PROBLEM if kind == "code" else PROBLEM


def noise_without(gold: str) -> str:
    """Noise in which a gold is nowhere to be read."""
    sought = gold.casefold().strip()
    pieces = [piece for piece in NOISE if not sought or sought not in piece.casefold()]
    return " ".join(pieces)


def run_cases(
    scorer: BatchScorer, asked: Sequence[Asked] = (Asked(),), num_generations: int = 1
) -> list[list[Case]]:
    """The cases of each problem, scored in one batch, as training scores one.

    Noise fills the groups up to a multiple of `num_generations`: a function may count on whole
    groups. Raises UserError where a reward fails.
    """
    rollouts: list[Rollout] = []
    names: list[str] = []
    for group, one in enumerate(asked):
        cases = list(texts_of(one.problem, scorer).items())
        filling = -len(cases) % num_generations
        for name, text in [*cases, *[(FILLING, noise_without(one.problem.gold))] * filling]:
            if one.think_opened:
                text = text.removeprefix("<think>")
            ids = tuple(one.encode(text)) if one.encode else ()
            rollouts.append(
                Rollout(
                    one.problem,
                    text,
                    len(ids) if one.encode else len(text.split()),
                    name == "truncated",
                    one.think_opened,
                    place=len(rollouts),
                    group=group,
                    prompt=one.prompt,
                    ids=ids,
                )
            )
            names.append(name)
    found: list[list[Case]] = [[] for _ in asked]
    rows = outcomes_of(scorer, scorer.grade(rollouts))
    for rollout, name, row in zip(rollouts, names, rows, strict=True):
        if name == FILLING:
            continue
        found[rollout.group].append(case_of(scorer, name, row))
    return found


def case_of(scorer: BatchScorer, name: str, row: list[Outcome]) -> Case:
    """One completion's case; a control, which pays at random on purpose, is left out."""
    judged, scores, values = [], [], {}
    for reward, outcome in zip(scorer.rewards, row, strict=True):
        if isinstance(reward, RandomReward):
            continue
        assert not isinstance(outcome, Fault)
        judged.append(reward)
        scores.append(outcome)
        values[reward.label] = None if outcome is None else outcome.value
    return Case(name, values, total_of(judged, scores))


def outcomes_of(scorer: BatchScorer, rollouts: list[Rollout]) -> list[list[Outcome]]:
    """What each reward says of each graded rollout. Raises UserError naming one that fails."""
    rows = scorer.outcomes(rollouts)
    for rollout, row in zip(rollouts, rows, strict=True):
        for reward, outcome in zip(scorer.rewards, row, strict=True):
            if not isinstance(outcome, Fault):
                continue
            error = outcome.error
            if isinstance(error, UserError):
                raise error
            where = f"{rollout.text[:40]!r} as an answer to problem {rollout.problem.id}"
            if outcome.whole_batch:
                where = f"a batch of {len(rollouts)} completions"
            raise UserError(
                f"reward {reward.label} fails on {where}: {type(error).__name__}: {error}"
            ) from error
    return rows


def check_cases(cases: list[Case]) -> Findings:
    """What is wrong with the order, and what else a person should know; one sentence each."""
    totals = {case.name: case.total for case in cases}
    if len(set(totals.values())) == 1:
        return Findings(
            told=[
                "the self-test cannot judge the rewards: they pay the same for a right answer, a"
                " wrong one and noise. Do they look for other tags than the recipe's answer.format?"
                " `scoring.cases` takes completions of your own"
            ]
        )
    if "perfect" not in totals:  # nobody knows what is right
        return Findings()
    right = max(totals[name] for name in RIGHT)
    refused, told = [], []
    for name in NOISY:
        if totals[name] >= right:
            refused.append(
                f"the {name} completion earns {totals[name]:g}, and a right answer {right:g}: noise"
                " must earn less"
            )
        elif totals[name] > 0:
            told.append(f"the {name} completion earns {totals[name]:g}, a right answer {right:g}")
    for name in ("truncated", "formatted, wrong"):
        if totals[name] > right:
            refused.append(
                f"the {name} completion earns {totals[name]:g}, more than a right answer's"
                f" {right:g}"
            )
    if totals["formatted, wrong"] == totals["perfect"]:
        told.append("a wrong answer earns as much as the right one, if its form is right")
    if totals["right, unformatted"] > totals["perfect"]:
        told.append(
            "a right answer earns more without its tags: do the rewards look for other ones than"
            " the recipe's answer.format?"
        )
    return Findings(refused, told)


def check_rewards(
    scorer: BatchScorer, asked: Sequence[Asked], num_generations: int = 1
) -> list[str]:
    """The self-test, before step 1, on some of the problems; what there is to tell, once each.

    Raises UserError with what is wrong.
    """
    told: dict[str, None] = {}
    every = run_cases(scorer, asked, num_generations)
    for one, cases in zip(asked, every, strict=True):
        found = check_cases(cases)
        if found.refused:
            raise UserError(
                f"rewards, on problem {one.problem.id}: {'; '.join(found.refused)}. `python -m"
                " rewards RECIPE --self-test` shows it"
            )
        told |= dict.fromkeys(found.told)
    return list(told)


def some_of(problems: Sequence[Problem]) -> list[Problem]:
    """The problems that the self-test asks: from the start, the middle and the end."""
    places = {0, len(problems) // 2, len(problems) - 1}
    return [problems[place] for place in sorted(places)][:ROWS_ASKED]
