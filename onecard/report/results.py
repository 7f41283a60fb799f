"""results.json: what a run found, as numbers."""

import resource
from collections.abc import Mapping
from typing import Any

from eval.scores import compare
from onecard.files.formats import write_json
from onecard.machine.gpu import GIB, find_cards
from onecard.machine.gpu_memory import CardUse
from onecard.machine.model_shapes import load_shape
from onecard.plan.memory import plan_memory
from onecard.recipe.schema import Recipe
from onecard.run.folder import Run
from onecard.run.process import is_first
from onecard.types import EvalResult

KIB_PER_GIB = 2**20


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
    """Write results.json.

    Per benchmark n, before, after and their paired difference; the best on dev; seconds by phase;
    peak memory.
    """
    benchmarks = {
        one.benchmark: compare(one, other) for one, other in zip(before, after, strict=True)
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_GIB
    results = {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "training_problems": {"read": problems_read, "used": problems_used},
        "benchmarks": benchmarks,
        "best_on_dev": best_on_dev,
        "seconds": run.seconds | {"total": round(sum(run.seconds.values()), 2)},
        "card": memory_of(card, recipe),
        "peak_memory_gib": round(peak, 2),
    }
    if is_first():
        write_json(run.folder / "results.json", results)


def memory_of(card: CardUse | None, recipe: Recipe) -> dict[str, Any] | None:
    """What the phases of a step took of the card at most, beside what was planned, in GiB.

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
