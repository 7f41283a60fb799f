"""Rewards: what is paid, and that no text can break the grader."""

import json
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecard.types import Sample, Verdict
from rewards import REWARDS, build_rewards
from rewards.answer import grade
from rewards.format import think_format

pytestmark = pytest.mark.unit
CASES = [json.loads(line) for line in (Path(__file__).parent / "cases/answers.jsonl").read_text(encoding="utf-8").split("\n") if line]


@pytest.mark.parametrize("case", CASES, ids=[case["reason"] for case in CASES])
def test_decided_cases(case: dict[str, str]) -> None:
    score = grade(case["completion"], case["gold"])
    assert score.verdict == case["verdict"]
    assert score.value == float(case["verdict"] == "correct")


def test_no_answer_of_a_completion_that_was_cut_off_is_truncated() -> None:
    assert grade("<think>9 * 2", "18", truncated=True).verdict == Verdict.TRUNCATED
    assert grade("<answer>18</answer>", "18", truncated=True).verdict == Verdict.CORRECT


@given(st.text() | st.text(alphabet="<>/answerthink#\\boxed{},.$-+0123456789 =*\n"))
def test_grade_never_raises_and_pays_only_what_is_declared(text: str) -> None:
    score = grade(text, "18")
    assert score.value in (0.0, 1.0)
    assert score.value == 0.0 or "18" in (score.extracted or "")


@pytest.mark.parametrize(
    "text",
    ["<answer>" * 12_000, "<answer>9" * 10_000, "\\boxed{" * 14_000, "#### " * 20_000, "<answer>" + "9" * 99_000 + "</answer>",
     "<answer>" + "a " * 49_000 + "</answer>", "\\boxed{" + "{,}" * 33_000, "<think>" * 14_000 + "</think>" * 100],
)  # fmt: skip
def test_long_hostile_text_takes_linear_time(text: str) -> None:
    started = time.perf_counter()
    assert grade(text, "18").value == 0.0
    assert time.perf_counter() - started < 0.5


def test_the_same_on_another_thread() -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(grade("<answer>18</answer>", "18")))
    thread.start()
    thread.join()
    assert found == [grade("<answer>18</answer>", "18")]


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("<think>a</think><answer>1</answer>", 1.0),
        (" <think>a\nb</think>\n\n<answer>1</answer>\n", 1.0),
        ("<think>a</think>", 0.0),
        ("<answer>1</answer><think>a</think>", 0.0),
        ("<think>a</think>so<answer>1</answer>", 0.0),
        ("<think>a</think><answer>1</answer><answer>1</answer>", 0.0),
        ("<think><think>a</think><answer>1</answer>", 0.0),
        ("<think>a</think><answer>1</answer>!", 0.0),
        ("", 0.0),
    ],
)
def test_think_format(completion: str, value: float) -> None:
    assert think_format(completion) == value


def test_built_rewards_score_a_sample() -> None:
    sample = Sample("1", "q", "18")
    answer, layout = build_rewards([("correct_answer", 1.0), ("think_format", 0.25)], seed=0)
    assert (answer.name, answer.weight, layout.weight) == ("correct_answer", 1.0, 0.25)
    assert answer.score("<answer>18</answer>", sample).value == 1.0
    assert layout.score("<answer>18</answer>", sample).value == 0.0


def test_the_random_control_pays_about_half_whatever_is_written() -> None:
    score = REWARDS["random"](0)
    paid = [score("<answer>18</answer>", Sample("1", "q", "18")).value for _ in range(1000)]
    assert 400 < sum(paid) < 600
