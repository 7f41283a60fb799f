"""Benchmarks, extraction as lm-evaluation-harness does it, and statistics against published values."""

import pytest

from eval.benchmarks import flexible, load_benchmark, same_answer, strict
from eval.stats import paired_difference, wilson_interval
from onecard.recipe import load_recipe
from onecard.types import UserError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("completion", "strict_answer", "flexible_answer"),
    [
        ("so #### 18", "18", "18"),
        ("#### 1,200\n#### 7", "1,200", "7"),
        ("#### -3", "-3", "-3"),
        ("####18", "[invalid]", "18"),
        ("costs $18.50 in 3 days", "[invalid]", "3"),
        ("it is $1,234.", "[invalid]", "$1,234."),
        ("<answer>18</answer>", "[invalid]", "18"),
        ("no number", "[invalid]", "[invalid]"),
        ("", "[invalid]", "[invalid]"),
        ("wait...", "[invalid]", "..."),
    ],
)
def test_extraction(completion: str, strict_answer: str, flexible_answer: str) -> None:
    assert strict(completion) == strict_answer
    assert flexible(completion) == flexible_answer


@pytest.mark.parametrize(
    ("extracted", "gold", "same"),
    [("1,200", "1200", True), ("$18", "18", True), ("18.", "18", True), ("18.0", "18", False), ("[invalid]", "18", False)],
)
def test_same_answer(extracted: str, gold: str, same: bool) -> None:
    assert same_answer(extracted, gold) is same


def test_wilson_interval_has_its_published_values() -> None:
    low, high = wilson_interval(81, 263)  # Newcombe 1998, table I: 0.2553 to 0.3662
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson_interval(0, 20)[0] == 0.0


def test_mcnemar_is_the_exact_binomial_test() -> None:
    before = [False] * 9 + [True] * 1 + [True] * 40
    after = [True] * 9 + [False] * 1 + [True] * 40
    difference = paired_difference(before, after)
    assert difference.points == pytest.approx(16.0)
    assert difference.p_value == pytest.approx(2 * (1 + 10) / 2**10)
    assert difference.ci_low < 16.0 < difference.ci_high


def test_no_change_is_no_evidence() -> None:
    difference = paired_difference([True, False] * 10, [True, False] * 10)
    assert (difference.points, difference.ci_low, difference.ci_high, difference.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_bootstrap_interval_agrees_with_the_normal_one_on_many_problems() -> None:
    before, after = [False] * 300 + [True] * 700, [True] * 200 + [False] * 100 + [True] * 650 + [False] * 50
    difference = paired_difference(before, after)
    half_width = 1.96 * ((0.25 - 0.15**2) / 1000) ** 0.5 * 100
    assert difference.points == pytest.approx(15.0)
    assert difference.ci_low == pytest.approx(15.0 - half_width, abs=0.2)
    assert difference.ci_high == pytest.approx(15.0 + half_width, abs=0.2)


def test_benchmarks_have_the_size_they_state() -> None:
    data = load_recipe("recipes/tiny.yaml").data
    assert len(load_benchmark("tiny", data, None)) == 512
    assert load_benchmark("tiny", data, 7) == load_benchmark("tiny", data, None)[:7]


def test_a_benchmark_is_never_some_other_data_under_its_name() -> None:
    data = load_recipe("recipes/tiny.yaml").data
    with pytest.raises(UserError, match="gsm8k has 1,319 problems, but tiny has 512"):
        load_benchmark("gsm8k", data, None)
    assert len(load_benchmark("test", data, None)) == 512
