"""Reward functions of the user's own: whatever TRL calls is called here, in the same way."""

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onecard.types import Problem, Rollout, RunFailed, UserError
from rewards.answer import graded
from rewards.answer.section import Answer
from rewards.base import Context, Fault, Moment, Outcome
from rewards.custom import Custom, check_functions
from rewards.scoring import BatchScorer
from rewards.section import Scoring
from rewards.selftest import run_cases

pytestmark = pytest.mark.unit

FUNCTIONS = """
import asyncio, re, time
import numpy

async def asynchronous(prompts, completions, **kwargs):
    await asyncio.sleep(0.2)
    return [float(len(c[0]["content"])) for c in completions]

begun = set()

async def meets(completions, **kwargs):
    begun.add("meets")
    while "too" not in begun:
        await asyncio.sleep(0.01)
    return [1.0] * len(completions)

async def too(completions, **kwargs):
    begun.add("too")
    while "meets" not in begun:
        await asyncio.sleep(0.01)
    return [1.0] * len(completions)

async def one_by_one(rollout):
    await asyncio.sleep(0.05)
    return len(rollout.text)

def curriculum(completions, trainer_state, **kwargs):
    return [float(trainer_state.global_step)] * len(completions)

def logs(completions, log_extra, log_metric, **kwargs):
    log_extra("lengths", [len(c[0]["content"]) for c in completions])
    log_metric("seen", 1.0)
    return [0.0] * len(completions)

def columns(completions, target, nums, ground_truth):
    return [float(sum(n) == t) + (g == "007") for t, n, g in zip(target, nums, ground_truth)]

def documented(prompts, completions, completion_ids):
    return [float(len(ids)) for ids in completion_ids]

def best_of_group(prompts, completions, question, **kwargs):
    best = {}
    for q, c in zip(question, completions):
        best[q] = max(best.get(q, 0), len(c[0]["content"]))
    return [float(len(c[0]["content"]) == best[q]) for q, c in zip(question, completions)]

def text_form(prompts, completions, **kwargs):
    return [float(isinstance(p, str) and isinstance(c, str)) for p, c in zip(prompts, completions)]

def array(completions, **kwargs): return numpy.ones(len(completions))
def tuples(completions, **kwargs): return tuple(1 for c in completions)
def generator(completions, **kwargs): return (c is not None for c in completions)
def nones(completions, **kwargs): return [None for c in completions]
def number(completions, **kwargs): return 1.0
def strings(completions, **kwargs): return ["1.0" for c in completions]
def words(completions, **kwargs): return "11"
def matrix(completions, **kwargs): return numpy.ones((len(completions), 2))

def verified(prompts, completions, answer, **kwargs):
    from math_verify import parse, verify
    found = []
    for completion, gold in zip(completions, answer):
        try:
            found.append(float(verify(parse(gold), parse(completion[0]["content"]))))
        except Exception:
            found.append(0.0)
    return found

def picky(completions, **kwargs):
    return [float(int(c[0]["content"])) for c in completions]

def only_whole(completions, **kwargs):
    if len(completions) > 2:
        raise KeyError("too many")
    return [1.0] * len(completions)

def sleeps(completions, **kwargs):
    time.sleep(30)

def swallows(completions, **kwargs):
    while True:
        try:
            time.sleep(30)
        except Exception:
            pass

def runs_away(completions, **kwargs):
    re.match("(a+)+b", "a" * 60)

def progress(completions, trainer_state, **kwargs):
    return [trainer_state.global_step / trainer_state.max_steps] * len(completions)

def by_group(completions, **kwargs):
    lengths = numpy.array([len(c[0]["content"]) for c in completions]).reshape(-1, 4)
    return (lengths == lengths.max(axis=1, keepdims=True)).ravel()

def broken_generator(completions, **kwargs):
    for completion in completions:
        yield None + 1

def enormous(rollout):
    return 10**400

async def leaves(completions, **kwargs):
    raise SystemExit(0)

class Judge:
    async def __call__(self, prompts, completions, **kwargs):
        return [2.0] * len(completions)

judge = Judge()
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("mine") / "functions.py"
    file.write_text(FUNCTIONS)
    return file


def rollouts_of(texts: Sequence[str], size: int = 2, **problem: Any) -> list[Rollout]:
    """Groups of `size` completions; each group has a problem of its own."""
    found = []
    for place, text in enumerate(texts):
        group = place // size
        one = Problem(str(group), f"q{group}", "18", **problem)
        found.append(graded(Rollout(one, text, 3, place=place, group=group), "auto"))
    return found


def scored(
    function: str, texts: Sequence[str] = ("a", "bb", "ccc", "dddd"), **context: Any
) -> list[Outcome]:
    return scored_rollouts(function, rollouts_of(texts), **context)


def scored_rollouts(
    function: str, rollouts: list[Rollout], seconds: float = 20.0, **context: Any
) -> list[Outcome]:
    reward = Custom(name="custom", function=function)
    return reward.open(Context(Answer(), seconds, **context)).score(rollouts)


def values(outcomes: list[Outcome]) -> list[float | None]:
    found = []
    for outcome in outcomes:
        assert not isinstance(outcome, Fault), outcome
        found.append(None if outcome is None else outcome.value)
    return found


@pytest.mark.parametrize(
    ("name", "paid"),
    [
        ("asynchronous", [1.0, 2.0, 3.0, 4.0]),
        ("one_by_one", [1.0, 2.0, 3.0, 4.0]),
        ("judge", [2.0] * 4),
        ("documented", [3.0] * 4),
        ("best_of_group", [0.0, 1.0, 0.0, 1.0]),
        ("array", [1.0] * 4),
        ("tuples", [1.0] * 4),
        ("generator", [1.0] * 4),
        ("nones", [None] * 4),
    ],
)
def test_functions_of_every_form_are_called_with_the_whole_batch(
    file: Path, name: str, paid: list[float | None]
) -> None:
    check_functions([Custom(name="custom", function=f"{file}:{name}")])
    assert values(scored(f"{file}:{name}")) == paid


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("number", "returned 1.0; wanted a list of 4 numbers, one for each completion"),
        ("strings", "returned '1.0', wanted a number or None"),
        ("words", "returned '11'; wanted a list of 4 numbers"),
        ("matrix", "wanted a number or None"),
    ],
)
def test_what_is_no_list_of_numbers_is_a_fault_and_no_reward(
    file: Path, name: str, told: str
) -> None:
    outcomes = scored(f"{file}:{name}")
    assert len(outcomes) == 4
    for outcome in outcomes:
        assert isinstance(outcome, Fault)
        assert told in str(outcome.error)


def test_async_rewards_wait_together(file: Path) -> None:
    """Each of the two comes to its end only when both have begun."""
    rewards = [Custom(name="custom", function=f"{file}:{name}") for name in ("meets", "too")]
    scorer = BatchScorer(rewards, Answer(), Scoring(deadline_seconds=20.0))
    assert [one.total for one in scorer.score(rollouts_of("12"))] == [2.0, 2.0]


def test_columns_come_as_they_were_written(file: Path) -> None:
    columns = {"target": 7, "nums": [3, 4], "ground_truth": "007"}
    rollouts = rollouts_of(["a", "b"], columns=columns)
    assert values(scored_rollouts(f"{file}:columns", rollouts)) == [2.0, 2.0]


def test_a_missing_argument_is_told_with_those_that_there_are(file: Path) -> None:
    with pytest.raises(UserError) as caught:
        scored(f"{file}:columns", columns=frozenset({"answer", "target"}))
    told = str(caught.value)
    assert "asks for nums, ground_truth; there are: answer, completion_ids, completions" in told
    assert "target, trainer_state" in told


def test_a_function_knows_the_step_and_may_log(file: Path) -> None:
    moment = Moment()
    logged: list[tuple[str, Any]] = []
    assert values(scored(f"{file}:curriculum", moment=moment)) == [0.0] * 4
    moment.trainer_state = SimpleNamespace(global_step=7)
    moment.log_extra = lambda name, values: logged.append((name, values))
    moment.log_metric = lambda name, value: logged.append((name, value))
    assert values(scored(f"{file}:curriculum", moment=moment)) == [7.0] * 4
    scored(f"{file}:logs", moment=moment)
    assert logged == [("lengths", [1, 2, 3, 4]), ("seen", 1.0)]


def test_text_prompts_have_text_completions(file: Path) -> None:
    problem = Problem("1", "q", "18", prompt="Q: q A:")
    rollouts = [graded(Rollout(problem, "x", 1, prompt="Q: q A:"), "auto")]
    assert values(scored_rollouts(f"{file}:text_form", rollouts)) == [1.0]
    assert values(scored(f"{file}:text_form")) == [0.0] * 4


def test_math_verify_works_inside_a_function(file: Path) -> None:
    """It sets an alarm signal, which only the main thread can; a try around it would hide that."""
    assert values(scored(f"{file}:verified", ["$18$", "$17$"])) == [1.0, 0.0]


def test_the_group_that_a_function_fails_on_is_found(file: Path) -> None:
    outcomes = scored(f"{file}:picky", ["1", "2", "3", "x"])
    assert values(outcomes[:2]) == [1.0, 2.0]
    for outcome in outcomes[2:]:
        assert isinstance(outcome, Fault)
        assert not outcome.whole_batch
    (reward,) = [Custom(name="custom", function=f"{file}:only_whole")]
    with pytest.raises(RunFailed, match=r"only_whole failed on a whole batch: KeyError: 'too many"):
        BatchScorer([reward], Answer(), Scoring()).score(rollouts_of("1234"))


@pytest.mark.fault(
    "a reward function on the main thread that sleeps, or is one runaway regular expression",
    "interrupted at the deadline, and counted as a fault",
)
@pytest.mark.parametrize("name", ["sleeps", "swallows", "runs_away"])
def test_a_function_that_hangs_is_interrupted(file: Path, name: str) -> None:
    started = time.monotonic()
    outcomes = scored_rollouts(f"{file}:{name}", rollouts_of("1234"), seconds=0.3)
    assert time.monotonic() - started < 20  # it sleeps for 30
    for outcome in outcomes:
        assert isinstance(outcome, Fault)
        assert str(outcome.error) == "no value within 0.3 s"


def test_an_alarm_of_the_users_own_is_left_alone(file: Path) -> None:
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    try:
        signal.setitimer(signal.ITIMER_REAL, 60.0)
        scored(f"{file}:array")
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 50.0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def test_parallel_functions_get_whole_groups_on_threads(tmp_path: Path) -> None:
    file = tmp_path / "waits.py"
    file.write_text(
        "import threading\n"
        "two = threading.Barrier(2)\n"
        "def waits(completions, **kwargs):\n"
        "    two.wait(timeout=20)  # for a second thread\n"
        "    return [len(completions)] * len(completions)\n"
    )
    reward = Custom(name="custom", function=f"{file}:waits", parallel=True)
    outcomes = reward.open(Context(Answer(), 30.0)).score(rollouts_of("12345678"))
    assert values(outcomes) == [2.0] * 8


def test_a_file_may_import_the_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "my_helpers_of_test.py").write_text("def score(text): return len(text)\n")
    (tmp_path / "late_helpers_of_test.py").write_text("def more(n): return n + 1\n")
    (tmp_path / "pays.py").write_text(
        "from my_helpers_of_test import score\n"
        "def pay(completions, **kwargs):\n"
        "    from late_helpers_of_test import more\n"
        "    return [more(score(c[0]['content'])) for c in completions]\n"
    )
    assert values(scored(f"{tmp_path}/pays.py:pay")) == [2.0, 3.0, 4.0, 5.0]


def test_the_examples_compare_the_completions_of_a_prompt() -> None:
    right, longer = "<answer>18</answer>", "so <answer>18</answer>"
    texts = [right, longer, "<answer>17</answer>", longer, "wrong", "wrong", "wrong", longer]
    rollouts = rollouts_of(texts, size=4)
    file = "recipes/group_rewards.py"
    shortest = values(scored_rollouts(f"{file}:shortest_right", rollouts))
    assert shortest == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    ranks = values(scored_rollouts(f"{file}:rank_by_length", rollouts))
    assert ranks[4:] == [1 / 3, 1 / 3, 1 / 3, 0.0]
    diverse = values(scored_rollouts(f"{file}:different", rollouts))
    assert diverse == [1.0, 0.5, 1.0, 0.5, 1 / 3, 1 / 3, 1 / 3, 1.0]


def test_the_self_test_gives_whole_groups_and_a_length_of_the_run(file: Path) -> None:
    """A function may share by max_steps, or cut the batch into its groups."""
    names = ("progress", "by_group")
    rewards = [Custom(name="custom", function=f"{file}:{name}") for name in names]
    scorer = BatchScorer(rewards, Answer(), Scoring(), max_steps=80)
    (cases,) = run_cases(scorer, num_generations=4)
    assert len(cases) == 6
    assert {case.values["progress"] for case in cases} == {0.0}


def test_an_evaluation_scores_as_before_training(file: Path) -> None:
    reward = Custom(name="custom", function=f"{file}:curriculum")
    scorer = BatchScorer([reward], Answer(), Scoring(), max_steps=80)
    scorer.moment.trainer_state = SimpleNamespace(global_step=7, max_steps=80)
    assert scorer.values_of("curriculum", rollouts_of("12")) == [0.0, 0.0]
    assert scorer.score(rollouts_of("12"))[0].total == 7.0


def test_what_a_generator_raises_is_told_as_it_is(file: Path) -> None:
    (outcome, *_) = scored(f"{file}:broken_generator")
    assert isinstance(outcome, Fault)
    assert "unsupported operand" in str(outcome.error)


def test_a_number_without_end_is_a_fault(file: Path) -> None:
    reward = Custom(name="custom", function=f"{file}:enormous", parallel=True)
    for outcome in reward.open(Context(Answer(), 5.0)).score(rollouts_of("12")):
        assert isinstance(outcome, Fault)


def test_a_function_that_ends_the_process_ends_no_other_async_reward(file: Path) -> None:
    (outcome, *_) = scored(f"{file}:leaves")
    assert isinstance(outcome, Fault)
    assert "tried to end the process" in str(outcome.error)
    assert values(scored(f"{file}:judge")) == [2.0] * 4
