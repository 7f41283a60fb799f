"""Right answers of every kind: what counts, what does not, and which kind golds are."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import cpu_seconds_below
from hypothesis import given, settings
from hypothesis import strategies as st
from walls import marked_where

from bench.hostile import HOSTILE
from onecard.types import Problem, Verdict
from rewards.answer import grade
from rewards.answer.kinds.table import KINDS, kind_of

pytestmark = pytest.mark.unit
CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "cases/kinds.jsonl").read_text().splitlines()
]
# A gold of each kind, and the value of a row that it is read from.
GOLDS: dict[str, Any] = {
    "number": 12,
    "expression": "\\frac{1}{2}",
    "choice": "(b)",
    "text": ["New York", "NYC"],
    "exact": "C++",
    "list": [1, "two"],
    "set": [1, "two"],
    "json": {"a": [1, None]},
    "date": "2024-05-01T14:30",
    "gym": "right, right, down",
    "unanswerable": None,
    "code": ["assert add(1, 2) == 3"],
}
RUNS_CODE = {"code"}.__contains__
SOLUTIONS = {"code": "def add(a, b):\n    return a + b"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['kind']}: {case['reason']}")
def test_what_counts_as_right(case: dict[str, str]) -> None:
    score = grade(case["completion"], case["gold"], kind=case["kind"])
    assert score.verdict == case["verdict"]
    assert score.value == float(case["verdict"] == Verdict.CORRECT)


def gold_of(kind: str) -> str:
    gold = KINDS[kind].read_gold(GOLDS[kind])
    assert gold is not None
    return gold


@pytest.mark.parametrize("kind", marked_where(RUNS_CODE, KINDS))
@pytest.mark.parametrize("answer_format", ["answer", "hash", "boxed"])
def test_a_gold_as_a_model_would_write_it_is_right_and_another_one_wrong(
    kind: str, answer_format: Any
) -> None:
    gold, its_kind = gold_of(kind), KINDS[kind]
    answer = its_kind.answer_of(Problem("1", "?", gold, SOLUTIONS.get(kind, ""), kind))
    assert answer is not None
    right = its_kind.marked(answer, answer_format)
    wrong = its_kind.marked(its_kind.another(gold), answer_format)
    assert grade(right, gold, answer_format, kind=kind).verdict == Verdict.CORRECT
    assert grade(wrong, gold, answer_format, kind=kind).verdict == Verdict.WRONG


@pytest.mark.parametrize("kind", marked_where(RUNS_CODE, sorted(set(KINDS) - {"expression"})))
def test_no_text_makes_a_kind_slow_or_right(kind: str) -> None:
    gold = gold_of(kind)
    for text in HOSTILE:
        with cpu_seconds_below(5, text):
            score = grade(f"<answer>{text}</answer>", gold, kind=kind)
        assert score.value == 0.0


@pytest.mark.parametrize("kind", marked_where(RUNS_CODE, sorted(set(KINDS) - {"expression"})))
@settings(deadline=None)  # a program's time is not the test's
@given(text=st.text(max_size=200))
def test_no_text_breaks_a_kind(kind: str, text: str) -> None:
    KINDS[kind].equal(text, gold_of(kind))
    KINDS[kind].read_gold(text)


@pytest.mark.parametrize(
    ("golds", "kind"),
    [
        (["18", "1,200", "-3.5"], "number"),
        ([18, 3.5], "number"),
        (["A", "D", "b"], "choice"),
        (["2024-05-01", "1999-12-31"], "date"),
        ([[1, 2], [3]], "list"),
        ([{"a": 1}, {"b": 2}], "json"),
        (["\\frac{1}{2}", "18", "x^2"], "expression"),
        ([["assert f(1) == 2"], ["assert g(2) == 3", "assert g(0) == 1"]], "code"),
        ([{"inputs": ["1"], "outputs": ["2"]}], "code"),
        ([["assert", "claim"]], "list"),
        (["Paris", "London", "1984"], "text"),
        ([True, False], "text"),
        (["18", "seven"], "number"),  # so that the odd row is named
    ],
)
def test_the_kind_is_seen_from_the_golds(golds: list[Any], kind: str) -> None:
    assert kind_of(golds) == kind


@pytest.mark.parametrize(
    ("golds", "told"),
    [
        (["Paris", "A"], "nothing is left of the answer 'A'"),
        (["C", "C++"], "the answers 'C' and 'C++' would be the same"),
        (["-5 degrees", "5 degrees"], "would be the same"),
        (["U.S.", "US", "Paris", "paris."], None),
    ],
)
def test_texts_that_would_become_empty_or_equal_are_refused(
    golds: list[str], told: str | None
) -> None:
    clash = KINDS["text"].clash(golds)
    if told is None:
        assert clash is None
    else:
        assert clash is not None
        assert told in clash
        assert "answer.kind: exact" in clash
