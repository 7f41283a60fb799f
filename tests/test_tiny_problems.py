"""The synthetic problems: right, disjoint by split, and as engineered as they claim to be."""

import re

import pytest

from eval.benchmarks import BENCHMARKS
from onecard.data.rows import read_rows
from onecard.data.synthetic import NAMES, OBJECTS, STEPWISE_SHARE, build_problems
from onecard.types import Problem

pytestmark = pytest.mark.unit

EVENTS = {
    r"(?:buys|finds) (\d+) more": lambda value, n: value + n,
    r"(?:gives away|loses) (\d+)\.": lambda value, n: value - n,
    r"number of \w+ doubles": lambda value, n: value * 2,
    r"gives away half": lambda value, n: value // 2,
}
STEP = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")


def read(split: str, count: int) -> list[Problem]:
    return read_rows(build_problems(split, count), split)


def solve(question: str) -> int:
    """The answer, worked out from the English of the question alone."""
    first, *events, _ = re.split(r"(?<=[.?]) ", question)
    value = int(re.search(r"has (\d+)", first)[1])  # type: ignore[index]
    for event in events:
        pattern, found = next((p, m) for p in EVENTS if (m := re.search(p, event)))
        value = EVENTS[pattern](value, int(found[1]) if found.groups() else 0)
    return value


@pytest.mark.parametrize("split", ["train", "dev", "test", "shifted"])
def test_golds_and_steps_are_right(split: str) -> None:
    for problem in read(split, 500):
        assert int(problem.gold) == solve(problem.question), problem
        steps = STEP.findall(problem.solution)
        for left, sign, right, result in steps:
            operations = {
                "+": int(left) + int(right),
                "-": int(left) - int(right),
                "*": int(left) * int(right),
                "/": int(left) / int(right),
            }
            assert operations[sign] == int(result)
        assert not steps or steps[-1][3] == problem.gold


def test_splits_share_no_question() -> None:
    splits = [
        {problem.question for problem in read(split, 512)} for split in ("dev", "test", "shifted")
    ]
    splits.append({problem.question for problem in read("train", 8000)})
    assert len(set.union(*splits)) == sum(map(len, splits))


def test_shifted_problems_have_no_familiar_name_or_object_and_larger_numbers() -> None:
    shifted = read("shifted", 512)
    assert not any(
        re.search(rf"\b{word}\b", problem.question)
        for problem in shifted
        for word in (*NAMES, *OBJECTS)
    )
    assert (
        max(int(problem.gold) for problem in shifted)
        > 20
        >= max(int(problem.gold) for problem in read("train", 8000))
    )


def test_most_training_solutions_are_terse() -> None:
    train = read("train", 4000)
    stepwise = sum(bool(STEP.search(problem.solution)) for problem in train) / len(train)
    assert stepwise == pytest.approx(STEPWISE_SHARE, abs=0.03)
    assert stepwise < 0.5


def test_the_same_problems_for_every_run() -> None:
    assert build_problems("test", 50) == build_problems("test", 512)[:50]
    assert BENCHMARKS["tiny"].problems == 512
