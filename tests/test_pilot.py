"""What the pilot makes of completions, and what health tells again."""

import json
from pathlib import Path
from typing import Any

import pytest

from onecard.console.display import Display
from onecard.files.formats import write_jsonl
from onecard.recipe.file import load_recipe
from onecard.run.folder import open_run
from onecard.run.journal import Journal
from onecard.types import Problem, Rollout, Score, Verdict
from onecard.watch.alarm_log import AlarmLog
from onecard.watch.pilot import Pilot, summarize
from rewards.scoring import Scored

ROOT = Path(__file__).parent.parent


def summarized(groups: list[list[float]], tokens: int = 10, truncated: int = 0) -> dict[str, Any]:
    """Groups of rewards; 1.0 and more is right. The first `truncated` completions are cut."""
    pilot = Pilot(
        problems=32,
        num_generations=4,
        completions_per_step=128,
        max_completion_length=48,
        temperature=1.0,
        system_prompt=None,
        seed=0,
    )
    scored = []
    totals = [(group, total) for group, paid in enumerate(groups) for total in paid]
    for place, (group, total) in enumerate(totals):
        verdict = Verdict.CORRECT if total >= 1 else Verdict.WRONG
        rollout = Rollout(
            Problem("1", "q", "1"),
            "",
            tokens + place,
            truncated=place < truncated,
            group=group,
            graded=Score(float(total >= 1), verdict),
        )
        scored.append(Scored(rollout, (), total, ((total,),)))
    return summarize(pilot, scored, seconds=2.0)


@pytest.mark.unit
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


@pytest.mark.unit
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


@pytest.mark.e2e
def test_a_resumed_run_forgets_what_health_told_of_steps_that_it_takes_again(
    tmp_path: Path,
) -> None:
    recipe = load_recipe(ROOT / "recipes/tiny.yaml")
    run = open_run(tmp_path, "resumed", recipe.resolved())
    AlarmLog(recipe.health, run, Journal(run), Display())
    assert run.health.read_text() == ""
    write_jsonl(run.health, [{"name": "kl", "step": step} for step in (3, 6, 7)])
    write_jsonl(run.metrics, [{"step": step, "reward": 0.5} for step in range(1, 7)])
    AlarmLog(recipe.health, run, Journal(run, step=6), Display())
    assert [json.loads(line)["step"] for line in run.health.read_text().splitlines()] == [3, 6]
