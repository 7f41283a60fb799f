"""results.json: what a run found, as numbers. Everything that is reported is read from here."""

import resource
from dataclasses import asdict
from typing import Any

from eval.stats import paired_difference, wilson_interval
from onecard.recipe import Recipe
from onecard.runs import Run, write_json
from onecard.types import EvalResult, Verdict


def write_results(
    run: Run, recipe: Recipe, before: list[EvalResult], after: list[EvalResult], problems_read: int, problems_used: int
) -> None:
    """Write results.json: per benchmark n, before, after and their paired difference; seconds by phase; peak memory."""
    pairs = {b.benchmark: (b, a) for b, a in zip(before, after, strict=True)}
    results = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "training_problems": {"read": problems_read, "used": problems_used},
        "benchmarks": {name: compare(b, a) for name, (b, a) in pairs.items()},
        "seconds": run.seconds | {"total": round(sum(run.seconds.values()), 2)},
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    write_json(run.folder / "results.json", results)


def compare(before: EvalResult, after: EvalResult) -> dict[str, Any]:
    """Two results on the same problems. `difference` is of the grader's verdicts, `flexible_difference` of flexible extraction."""
    assert [item.id for item in before.items] == [item.id for item in after.items]
    correct = [[item.verdict == Verdict.CORRECT for item in result.items] for result in (before, after)]
    flexible = [[item.flexible for item in result.items] for result in (before, after)]
    return {
        "n": before.n,
        "before": shares(before),
        "after": shares(after),
        "difference": asdict(paired_difference(*correct)),
        "flexible_difference": asdict(paired_difference(*flexible)),
    }


def shares(result: EvalResult) -> dict[str, float]:
    low, high = wilson_interval(round(result.accuracy * result.n), result.n)
    return {
        "accuracy": result.accuracy,
        "stderr": (result.accuracy * (1 - result.accuracy) / result.n) ** 0.5,
        "ci_low": low,
        "ci_high": high,
        "strict": result.strict,
        "flexible": result.flexible,
        "no_answer": result.share(Verdict.NO_ANSWER),
        "truncated": result.share(Verdict.TRUNCATED),
        "step_by_step": result.step_by_step,
        "mean_tokens": result.mean_tokens,
    }
