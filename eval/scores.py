"""The scores of an evaluation, and the comparison of two."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from eval.statistics import (
    bootstrap_interval,
    majority,
    mean_interval,
    paired_change,
    paired_difference,
    pass_at,
)
from onecard.files.differences import differences, listed
from onecard.types import EvalItem, EvalResult, UserError, Verdict
from rewards.answer.number import read_number

ACCURACIES: dict[str, Callable[[EvalItem], bool]] = {  # of the same completions, side by side
    "accuracy": lambda item: item.correct,  # the grader's verdict, the one that training pays for
    "strict": lambda item: item.strict,
    "flexible": lambda item: item.flexible,
}
KS = (2, 4, 8, 16, 32, 64, 128)  # of pass@k
NO_ANSWERS = (Verdict.NO_ANSWER, Verdict.TRUNCATED)


def scores(result: EvalResult) -> dict[str, Any]:
    """Accuracies with 95 % intervals, and shares, in [0, 1].

    `accuracy` of k samples a problem is mean@k; pass@k and maj@k stand beside it.
    """
    problems = result.problems
    samples = len(problems[0])
    found: dict[str, Any] = {"n": len(problems), "samples": samples}
    for name, right in ACCURACIES.items():
        values = by_problem(result, right)
        found[name] = result.share(right)
        found[f"{name}_ci"] = mean_interval(values)
    correct = by_problem(result, ACCURACIES["accuracy"])
    found |= {
        "stderr": standard_error(correct),
        # Whether it was cut off or not.
        "no_answer": result.share(lambda item: item.verdict in NO_ANSWERS),
        "truncated": result.share(lambda item: item.truncated and item.tokens > 0),
        # The prompt was too long; that counts as wrong.
        "not_asked": result.share(lambda item: item.truncated and item.tokens == 0),
        "grader_error": result.share(lambda item: item.verdict == Verdict.GRADER_ERROR),
        # A worked solution, not one jump.
        "step_by_step": result.share(lambda item: item.equations >= 2),
        "mean_tokens": mean_tokens(result),
    }
    if is_scored(result):
        values = score_by_problem(result)
        found |= {"score": sum(values) / len(values), "score_ci": bootstrap_interval(values)}
    if samples > 1:
        found |= sampled_scores(problems, samples)
    return found


def is_scored(result: EvalResult) -> bool:
    """Whether a reward has scored its completions."""
    return any(item.score is not None for item in result.items)


def score_by_problem(result: EvalResult) -> list[float]:
    """The mean score of each problem's completions; where the reward does not apply it is 0."""
    return [sum(item.score or 0.0 for item in items) / len(items) for items in result.problems]


def sampled_scores(problems: list[list[EvalItem]], samples: int) -> dict[str, Any]:
    """pass@k and maj@k of k completions a problem, each with its interval."""
    found: dict[str, Any] = {}
    rights = [sum(item.correct for item in problem) for problem in problems]
    for k in [*(k for k in KS if k < samples), samples]:
        values = [pass_at(k, samples, correct) for correct in rights]
        found[f"pass@{k}"] = sum(values) / len(values)
        found[f"pass@{k}_ci"] = mean_interval(values)
    votes = [
        majority([vote(item) for item in problem], [item.correct for item in problem])
        for problem in problems
    ]
    found[f"maj@{samples}"] = sum(votes) / len(votes)
    found[f"maj@{samples}_ci"] = mean_interval(votes)
    return found


def standard_error(values: list[float]) -> float:
    """Of the mean of one value a problem."""
    mean = sum(values) / len(values)
    squares = sum((value - mean) ** 2 for value in values)
    return (squares / len(values) ** 2) ** 0.5


def mean_tokens(result: EvalResult) -> float:
    """The mean length of the completions that were asked for, in tokens."""
    lengths = [item.tokens for item in result.items if item.tokens > 0]
    return sum(lengths) / (len(lengths) or 1)


def by_problem(result: EvalResult, right: Callable[[EvalItem], bool]) -> list[float]:
    """The share of each problem's completions that are right."""
    return [sum(map(right, problem)) / len(problem) for problem in result.problems]


def vote(item: EvalItem) -> object:
    """What a completion votes for: the number it declares, else the text; None without an answer.

    18.0 and 18 are one vote. A right completion votes for the gold, however it was written.
    """
    if item.extracted is None:
        return None
    text = item.gold if item.correct else item.extracted
    number = read_number(text)
    return text.strip() if number is None else number


def compare(before: EvalResult, after: EvalResult) -> dict[str, Any]:
    """Two results on the same problems.

    `difference` is of the grader's verdicts, the others are of the harness's extractions.
    `confusion` counts problems; right means that more than half of a problem's completions are.
    """
    one, other = ([(item.id, item.sample) for item in both.items] for both in (before, after))
    assert one == other
    was = [value > 0.5 for value in by_problem(before, ACCURACIES["accuracy"])]
    now = [value > 0.5 for value in by_problem(after, ACCURACIES["accuracy"])]
    pairs = list(zip(was, now, strict=True))
    found: dict[str, Any] = {"n": len(pairs), "before": scores(before), "after": scores(after)}
    for name, right in ACCURACIES.items():
        key = "difference" if name == "accuracy" else f"{name}_difference"
        found[key] = asdict(paired_difference(by_problem(before, right), by_problem(after, right)))
    if is_scored(before) and is_scored(after):
        changed = paired_change(score_by_problem(before), score_by_problem(after))
        found["score_difference"] = asdict(changed)
    found["confusion"] = {
        "fixed": pairs.count((False, True)),
        "broken": pairs.count((True, False)),
        "still_right": pairs.count((True, True)),
        "still_wrong": pairs.count((False, False)),
    }
    return found


def check_comparable(one: dict[str, Any], other: dict[str, Any], across_templates: bool) -> None:
    """Raise UserError where two results are not about the same problems, put and graded alike.

    It says what differs. Batch size, seed and engine may. Chat templates that write the first
    prompt differently are allowed with `across_templates`.
    """
    keys = ("benchmark", "prompt", "answer_format", "answer_kind", "score", "sampling")
    asked = [{key: facts.get(key) for key in keys} for facts in (one, other)]
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


def p_text(p_value: float) -> str:
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def confusion_text(confusion: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in confusion.items())
