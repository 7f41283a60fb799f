"""Scores of an evaluation, the comparison of two, and results.json: what a run found, as
numbers.
"""

import resource
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from eval.stats import majority, mean_interval, paired_difference, pass_at
from onecard.card.memory import plan_memory
from onecard.files.differences import differences, listed
from onecard.files.formats import write_json
from onecard.machine.gpu import GIB, find_cards
from onecard.machine.gpu_use import CardUse
from onecard.machine.models import load_shape
from onecard.recipe import Recipe
from onecard.runs import Run
from onecard.types import EvalItem, EvalResult, UserError, Verdict
from rewards.answer import read_number

ACCURACIES: dict[str, Callable[[EvalItem], bool]] = {  # of the same completions, side by side
    "accuracy": lambda item: item.correct,  # the grader's verdict, the one that training pays for
    "strict": lambda item: item.strict,
    "flexible": lambda item: item.flexible,
}


def scores(result: EvalResult) -> dict[str, Any]:
    """Accuracies with 95 % intervals, and shares, in [0, 1]; `accuracy` of k samples a problem is
    mean@k, with pass@k and maj@k.
    """
    problems = result.problems
    samples = len(problems[0])
    found: dict[str, Any] = {"n": len(problems), "samples": samples}
    for name, right in ACCURACIES.items():
        values = by_problem(result, right)
        found[name] = result.share(right)
        found[f"{name}_ci"] = mean_interval(values)
    found |= {
        "stderr": (
            (
                sum(
                    (v - found["accuracy"]) ** 2 for v in by_problem(result, ACCURACIES["accuracy"])
                )
                / len(problems) ** 2
            )
            ** 0.5
        ),
        "no_answer": result.share(
            lambda item: item.verdict in (Verdict.NO_ANSWER, Verdict.TRUNCATED)
        ),  # truncated or not
        "truncated": result.share(lambda item: item.truncated and item.tokens > 0),
        "not_asked": result.share(
            lambda item: item.truncated and item.tokens == 0
        ),  # the prompt was too long; counts as wrong
        "grader_error": result.share(lambda item: item.verdict == Verdict.GRADER_ERROR),
        "step_by_step": result.share(
            lambda item: item.equations >= 2
        ),  # a worked solution, not one jump
        "mean_tokens": (
            sum(item.tokens for item in result.items)
            / (sum(item.tokens > 0 for item in result.items) or 1)
        ),
    }
    if samples > 1:
        ks = [k for k in (2, 4, 8, 16, 32, 64, 128) if k < samples] + [samples]
        rights = [sum(item.correct for item in problem) for problem in problems]
        votes = [
            majority([vote(item) for item in problem], [item.correct for item in problem])
            for problem in problems
        ]
        for k in ks:
            values = [pass_at(k, samples, correct) for correct in rights]
            found[f"pass@{k}"], found[f"pass@{k}_ci"] = (
                sum(values) / len(values),
                mean_interval(values),
            )
        found[f"maj@{samples}"], found[f"maj@{samples}_ci"] = (
            sum(votes) / len(votes),
            mean_interval(votes),
        )
    return found


def by_problem(result: EvalResult, right: Callable[[EvalItem], bool]) -> list[float]:
    """The share of each problem's completions that are right."""
    return [sum(map(right, problem)) / len(problem) for problem in result.problems]


def vote(item: EvalItem) -> object:
    """What a completion votes for: the number it declares, 18.0 and 18 alike, else the text; None
    without an answer.

    A right one votes for the gold, however it was written.
    """
    if item.extracted is None:
        return None
    number = read_number(item.gold if item.correct else item.extracted)
    return item.extracted.strip() if number is None else number


def compare(before: EvalResult, after: EvalResult) -> dict[str, Any]:
    """Two results on the same problems. `difference` is of the grader's verdicts, the others of the
    harness's extractions.

    `confusion` counts problems, right meaning that more than half of a problem's completions are.
    """
    assert [(item.id, item.sample) for item in before.items] == [
        (item.id, item.sample) for item in after.items
    ]
    was, now = (
        [value > 0.5 for value in by_problem(result, ACCURACIES["accuracy"])]
        for result in (before, after)
    )
    pairs = list(zip(was, now, strict=True))
    found: dict[str, Any] = {"n": len(pairs), "before": scores(before), "after": scores(after)}
    for name, right in ACCURACIES.items():
        key = "difference" if name == "accuracy" else f"{name}_difference"
        found[key] = asdict(paired_difference(by_problem(before, right), by_problem(after, right)))
    found["confusion"] = {
        "fixed": pairs.count((False, True)),
        "broken": pairs.count((True, False)),
        "still_right": pairs.count((True, True)),
        "still_wrong": pairs.count((False, False)),
    }
    return found


def check_comparable(one: dict[str, Any], other: dict[str, Any], across_templates: bool) -> None:
    """Raise UserError saying what differs, unless two results are about the same problems, put and
    graded in the same way.

    Batch size, seed and engine may differ. Chat templates that write the first prompt differently
    are allowed with `across_templates`.
    """
    keys = ("benchmark", "prompt", "answer_format", "sampling")
    asked = [{key: facts[key] for key in keys} for facts in (one, other)]
    may_differ = (("sampling", "batch_size"), ("sampling", "seed"))
    differing = [
        difference
        for difference in differences(asked[0], asked[1])
        if difference.path not in may_differ
    ]
    if one["first_prompt"] != other["first_prompt"] and not differing and not across_templates:
        raise UserError(
            "these two do not compare: their chat templates write the same problem as different"
            " prompts (`first_prompt` in result.json); --across-templates compares them"
            " nevertheless"
        )
    if differing:
        raise UserError(f"these two do not compare: {listed(differing)}")


def memory_of(card: CardUse | None, recipe: Recipe) -> dict[str, Any] | None:
    """What the phases of a step took of the card at most, beside what was planned for each, in GiB;
    None without a card.
    """
    if card is None:
        return None
    first, shape = find_cards()[0], load_shape(recipe.model.name)
    planned = plan_memory(recipe, shape).phases if shape else None
    return {
        "name": first.name,
        "total_gib": round(first.memory / GIB, 2),
        "measured_gib": in_gib(card.peaks),
        "planned_gib": planned and in_gib(planned),
    }


def in_gib(sizes: Mapping[str, float]) -> dict[str, float]:
    return {name: round(size / GIB, 2) for name, size in sizes.items()}


def write_results(
    run: Run,
    recipe: Recipe,
    before: list[EvalResult],
    after: list[EvalResult],
    *,
    problems_read: int,
    problems_used: int,
    best_on_dev: dict[str, Any] | None,
    card: CardUse | None,
) -> None:
    """Write results.json: per benchmark n, before, after and their paired difference; the best on
    dev; seconds by phase; peak memory.
    """
    pairs = {b.benchmark: (b, a) for b, a in zip(before, after, strict=True)}
    results = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "training_problems": {"read": problems_read, "used": problems_used},
        "benchmarks": {name: compare(b, a) for name, (b, a) in pairs.items()},
        "best_on_dev": best_on_dev,
        "seconds": run.seconds | {"total": round(sum(run.seconds.values()), 2)},
        "card": memory_of(card, recipe),
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    write_json(run.folder / "results.json", results)
