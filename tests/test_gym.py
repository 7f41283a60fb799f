"""reasoning-gym as a data set: which tasks are taken, what counts as right, what a run sees."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, cpu_seconds_below, run_train

from bench.hostile import HOSTILE
from eval.benchmarks import BENCHMARKS, load_benchmark
from eval.task import digest
from onecard.data.gym import Gym
from onecard.data.rows import Reading
from onecard.data.sameness import plain_words
from onecard.data.section import GymTask
from onecard.recipe.file import load_recipe
from onecard.types import UserError, Verdict
from rewards.answer import grade
from rewards.answer.kinds.gym import REFUSED_TASKS, SAFE_TASKS, check_task
from rewards.answer.markers import marked

ROWS = 4
# What a model could write that is paid for whatever passes. OWNED would show that it was run.
OWNED = "open('owned', 'w')"
TRICKS = (
    "nan",
    "-nan",
    "inf",
    "1e999999999",
    "9" * 4_000,
    "[]",
    "{}",
    "null",
    "true",
    "True",
    "no",
    "()",
    "[NaN, NaN, NaN, NaN, NaN]",
    "[" * 2_000,
    '{"a":' * 600,
    OWNED,
    f"[{OWNED}]",
    f"__import__('os').system('touch owned') or {OWNED}",
    "R999999999",
    "A+999999999 B-999999999",
    "¬" * 2_000,
    "∧".join("abcdefghijklmnopqrstuvwxyz"),
    "right " * 600,
    "\n".join(["1 2 3 4"] * 500),
    "\u0660\u0661 \u00bd ²",
    "<answer>",
    *(text for text in HOSTILE if len(text) < 4_000),
)


def gym(name: str, count: int = ROWS, **params: Any) -> Gym:
    return Gym((GymTask(task=name, params=params),), train_problems=count, held_out=2 * ROWS)


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Stops whatever would run an answer as a program, or write because of it."""
    if not Auditing.on:
        return
    if event == "compile" and "owned" in repr(arguments[0]):
        raise AssertionError(f"compiled {arguments[0]!r}")
    if event in ("os.system", "subprocess.Popen", "os.exec", "os.remove", "socket.connect"):
        raise AssertionError(f"{event} {arguments!r}")


class Auditing:
    on = False


sys.addaudithook(audit)  # there is no way to take it out again


@pytest.mark.unit
@pytest.mark.parametrize("name", sorted(SAFE_TASKS))
def test_only_the_right_answer_of_a_task_counts(name: str) -> None:
    rows = gym(name).rows("train")
    for row in rows:

        def verdict(answer: str, row: dict[str, Any] = row) -> Verdict:
            text = marked(answer, "answer")
            score = grade(text, row["answer"], "answer", kind="gym", columns=row)
            assert score.verdict is not None
            return score.verdict

        before = json.dumps(row, default=str)
        assert verdict(row["answer"]) == Verdict.CORRECT
        Auditing.on = True
        try:
            others = [one["answer"] for one in rows if one["answer"] != row["answer"]]
            if name == "sokoban":  # moves that lead nowhere may come before those that solve it
                others = []
            for trick in (*TRICKS, *(f"{other}, {row['answer']}" for other in others)):
                with cpu_seconds_below(5, trick):
                    found = verdict(trick)
                if trick.strip().casefold() != row["answer"].strip().casefold():
                    assert found != Verdict.CORRECT, f"{trick[:80]!r} for {row['answer']!r}"
        finally:
            Auditing.on = False
        assert json.dumps(row, default=str) == before


@pytest.mark.unit
def test_every_task_of_the_package_is_taken_or_refused_with_a_reason() -> None:
    from reasoning_gym.factory import DATASETS

    assert set(DATASETS) - {"composite"} == SAFE_TASKS | set(REFUSED_TASKS)
    assert not SAFE_TASKS & set(REFUSED_TASKS)
    with pytest.raises(ValueError, match="countdown is not taken: its verifier runs the answer"):
        check_task("countdown")
    with pytest.raises(ValueError, match="did you mean 'chain_sum'"):
        check_task("chain_sums")


@pytest.mark.unit
def test_splits_share_no_question_and_fewer_rows_are_the_first_of_more() -> None:
    small, large = gym("chain_sum", 40, max_terms=2), gym("chain_sum", 80, max_terms=2)
    every = [
        plain_words(row["question"])
        for split in ("train", "dev", "test")
        for row in large.rows(split)
    ]
    assert len(set(every)) == len(every) == 80 + 4 * ROWS
    assert small.rows("train") == large.rows("train")[:40]
    assert small.rows("test") == large.rows("test")


@pytest.mark.unit
def test_several_tasks_have_the_shares_of_their_weights() -> None:
    tasks = (GymTask(task="gcd", weight=3), GymTask(task="lcm"))
    rows = Gym(tasks, train_problems=40).rows("train")
    assert [row["task"] for row in rows].count("gcd") == 30
    assert [row["task"] for row in rows[:8]].count("lcm") == 2  # mixed from the start


@pytest.mark.unit
@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"max_term": 3}, "its params are: min_terms, max_terms"),
        ({"max_terms": 1}, "max_terms must be >= min_terms"),
        ({"seed": 3}, "multiple values for keyword argument 'seed'"),
        ({"max_terms": "many"}, "data.gym: chain_sum"),
        ({"max_terms": 2, "max_digits": 1}, "no more than"),
    ],
)
def test_params_that_a_task_cannot_have(params: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=r"data\.gym") as error:
        gym("chain_sum", 300, **params).load("train")
    assert told in str(error.value)


@pytest.mark.unit
def test_golds_can_be_graded_as_another_kind() -> None:
    source = Gym((GymTask(task="gcd"),), 4, Reading("number"))
    assert {problem.kind for problem in source.load("train")} == {"number"}
    assert gym("gcd").load("train")[0].kind == "gym"


@pytest.mark.unit
def test_a_task_in_a_recipe_and_on_the_command_line() -> None:
    recipe = load_recipe(ROOT / "recipes/tiny.yaml", ["data.gym=gcd", "data.params.max_value=9"])
    assert (recipe.data.path, recipe.data.gym) == (
        "reasoning-gym",
        [GymTask(task="gcd", params={"max_value": 9})],
    )
    made = ROOT / "recipes/gym-tiny.yaml"
    assert load_recipe(made, ["data.gym=lcm"]).data.gym == [GymTask(task="lcm")]
    assert load_recipe(made, ["data.path=tiny"]).data.gym is None
    again = json.loads(json.dumps(load_recipe(made).resolved()))
    assert type(load_recipe(made)).model_validate(again) == load_recipe(made)
    for settings, told in (
        (["data.gym=countdown"], "its verifier runs the answer as a program"),
        (["data.gym=gcd", "data.path=mine"], "only one of them can be"),
    ):
        with pytest.raises(UserError, match=told):
            load_recipe(made, settings)


@pytest.mark.unit
def test_gsm_symbolic_stands_beside_gsm8k() -> None:
    problems = load_benchmark("gsm_symbolic", None)
    assert len(problems) == 512
    assert {problem.kind for problem in problems} == {"number"}
    assert digest(problems)["sha256"].startswith(BENCHMARKS["gsm_symbolic"].sha256)


@pytest.mark.e2e
def test_a_recipe_of_made_problems_learns(tmp_path: Path) -> None:
    done = run_train(tmp_path, "gym-tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    test = json.loads((tmp_path / "runs/gym-tiny/results.json").read_text())["benchmarks"]["test"]
    # How good SFT's model is differs from processor to processor: 8 to 18 points were seen.
    assert test["difference"]["points"] > 5
    assert test["difference"]["p_value"] < 0.001
