"""What the pilot makes of completions, and what health tells again: the parts that come with
torch.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from onecard.console.display import Display
from onecard.files.formats import write_jsonl
from onecard.recipe_file import load_recipe
from onecard.runs import open_run
from onecard.types import Rollout, Sample

pytestmark = pytest.mark.e2e  # it imports the policy, and with it unsloth
ROOT = Path(__file__).parent.parent


def summarized(groups: list[list[float]], tokens: int = 10, truncated: int = 0) -> dict[str, Any]:
    """Groups of rewards; 1.0 and more is right. The first `truncated` completions are cut."""
    from onecard.pilot import summarize

    recipe = load_recipe(ROOT / "recipes/tiny.yaml", ["grpo.num_generations=4"])
    totals = [total for group in groups for total in group]
    rollouts = [
        Rollout(Sample("1", "q", "1"), "", tokens + place, place < truncated)
        for place in range(len(totals))
    ]
    return summarize(recipe, rollouts, totals, [total >= 1 for total in totals], seconds=2.0)


def test_shares_are_of_completions_and_of_groups() -> None:
    found = summarized(
        [[1.25, 0.25, 0.25, 0.25], [0.25] * 4, [1.25] * 4, [0.0, 0.25, 0.25, 0.25]], truncated=4
    )
    assert (found["pass_rate"], found["pass_at_g"], found["signal_share"], found["truncated"]) == (
        5 / 16,
        0.5,
        0.5,
        0.25,
    )
    assert (found["prompts"], found["num_generations"], found["reward"]) == (
        4,
        4,
        pytest.approx((1.25 * 5 + 0.25 * 10) / 16),
    )
    assert found["tokens"] == {"p10": 11.5, "p50": 17.5, "p90": 23.5, "max": 25}
    assert found["generation_seconds_per_step"] == 16.0  # 128 completions a step
    assert found["advice"] == []


@pytest.mark.parametrize(
    ("groups", "truncated", "told"),
    [
        ([[0.25, 0.0, 0.0, 0.0]] * 2, 0, "No completion is right"),
        (
            [[1.25, 1.0, 1.0, 1.0]] * 2,
            0,
            "100% of the completions are right: the problems are too easy",
        ),
        ([[1.0, 0.0, 0.0, 0.0]] + [[0.0] * 4] * 9, 0, "10% of the groups have a signal"),
        ([[1.0, 0.0, 0.0, 0.0]] * 2, 3, "38% of the completions are cut at 48 tokens"),
    ],
)
def test_what_is_out_of_the_ordinary_is_told_with_its_number(
    groups: list[list[float]], truncated: int, told: str
) -> None:
    (line,) = summarized(groups, truncated=truncated)["advice"]
    assert told in line


def test_a_resumed_run_forgets_what_health_told_of_steps_that_it_takes_again(
    tmp_path: Path,
) -> None:
    import onecard.policy  # noqa: F401  isort: skip  (unsloth, before all that it patches)
    from onecard.callbacks import WatchHealth
    from onecard.journal import Journal

    recipe = load_recipe(ROOT / "recipes/tiny.yaml")
    run = open_run(recipe, tmp_path, "resumed")
    WatchHealth(recipe.health, run, Journal(run), Display())
    assert run.health.read_text() == ""
    write_jsonl(run.health, [{"name": "kl", "step": step} for step in (3, 6, 7)])
    write_jsonl(run.metrics, [{"step": step, "reward": 0.5} for step in range(1, 7)])
    WatchHealth(recipe.health, run, Journal(run, step=6), Display())
    assert [json.loads(line)["step"] for line in run.health.read_text().splitlines()] == [3, 6]
