"""A reward function in a process of its own."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from onecard.types import Problem, Rollout
from rewards.answer.section import Answer
from rewards.base import Fault
from rewards.custom import Custom
from rewards.scoring import BatchScorer
from rewards.section import Scoring

pytestmark = pytest.mark.unit

FUNCTIONS = """
import ctypes, hashlib, os
from helpers import half

def lengths(completions, trainer_state, log_metric, **kwargs):
    log_metric("step", trainer_state.global_step)
    return [half(len(text[0]["content"])) for text in completions]

async def waits(completions, **kwargs):
    return [1.0] * len(completions)

def where(completions, **kwargs):
    return [os.getpid()] * len(completions)

def runs_away(completions, **kwargs):
    if any("hang" in text[0]["content"] for text in completions):
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2 ** 31 - 1)  # C: nothing interrupts it
    return [1.0] * len(completions)

def crashes(completions, **kwargs):
    if any("crash" in text[0]["content"] for text in completions):
        ctypes.string_at(0)
    return [1.0] * len(completions)

class OwnError(Exception):
    pass

def fails(completions, **kwargs):
    raise OwnError("no such thing")
"""


@pytest.fixture
def open_scorer(tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    (tmp_path / "helpers.py").write_text("def half(x): return x / 2")
    opened = []

    def open_one(name: str, seconds: float = 30.0) -> BatchScorer:
        reward = Custom(name="custom", function=f"{tmp_path}/mine.py:{name}", isolated=True)
        scoring = Scoring(deadline_seconds=seconds, on_error="skip_group")
        opened.append(BatchScorer([reward], Answer(), scoring))
        return opened[-1]

    yield open_one
    for scorer in opened:
        scorer.close()


def rollouts(*texts: str) -> list[Rollout]:
    return [Rollout(Problem("1", "q", "1"), text, 1, group=n) for n, text in enumerate(texts)]


def paid(scorer: BatchScorer, *texts: str) -> list[float | None]:
    return [one.values()[0] for one in scorer.score(rollouts(*texts))]


def test_it_is_called_as_any_other(open_scorer: Any) -> None:
    logged: dict[str, float] = {}
    scorer = open_scorer("lengths")
    scorer.moment.trainer_state = SimpleNamespace(global_step=7, max_steps=9, epoch=0.5)
    scorer.moment.log_metric = logged.__setitem__
    assert paid(scorer, "ab", "abcd") == [1.0, 2.0]
    assert logged == {"step": 7}
    assert paid(open_scorer("waits"), "ab") == [1.0]


def test_it_runs_in_one_process_that_is_not_ours_and_ends_with_the_run(open_scorer: Any) -> None:
    scorer = open_scorer("where")
    (first,), (second,) = paid(scorer, "a"), paid(scorer, "b")
    assert first is not None
    assert first == second != os.getpid()
    process = psutil.Process(int(first))
    scorer.close()
    assert not psutil.wait_procs([process], timeout=5)[1]


@pytest.mark.fault("a reward function that nothing interrupts", "isolated, it is killed")
@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("runs_away", "hang", "no value within 1 s, and its process was killed"),
        ("crashes", "crash", "its process died"),
    ],
)
def test_what_runs_away_is_killed_and_the_next_batch_is_scored(
    name: str, text: str, told: str, open_scorer: Any
) -> None:
    scorer = open_scorer(name, seconds=1.0)
    assert paid(scorer, "fine") == [1.0]
    begun = time.monotonic()
    (outcome,) = scorer.scorers[0].score(rollouts(text))
    assert time.monotonic() - begun < 10
    assert isinstance(outcome, Fault)
    assert told in str(outcome.error)
    assert paid(scorer, "fine") == [1.0]


def test_an_error_of_its_own_class_is_told_in_words(open_scorer: Any) -> None:
    (outcome,) = open_scorer("fails").scorers[0].score(rollouts("a"))
    assert isinstance(outcome, Fault)
    assert "OwnError: no such thing" in str(outcome.error)
