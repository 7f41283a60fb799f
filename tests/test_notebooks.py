"""Reward functions of public notebooks run here as they are; docs/notebooks.md names them."""

from pathlib import Path
from typing import Any

import pytest

from onecard.types import Problem, Rollout, Score
from rewards.answer import graded
from rewards.answer.section import Answer
from rewards.base import Context
from rewards.custom import Custom

pytestmark = pytest.mark.unit
FILE = Path(__file__).parent / "notebook_rewards.py"
WORKED = "<start_working_out>a<end_working_out><SOLUTION>{}</SOLUTION>"
MATMUL = """```python
def matmul(A, B):
    {}
```"""
RIGHT_MATMUL = "return [[sum(a * b for a, b in zip(r, c)) for c in zip(*B)] for r in A]"
STRATEGY = "```python\ndef strategy(board):\n    {}\n```"
TAGGED = "<reasoning>\na\n</reasoning>\n<answer>\n18\n</answer>"
# A function, columns of the row, and completions with what each of them is paid.
CASES: list[tuple[str, dict[str, Any], dict[str, float]]] = [
    ("correctness_reward_func", {}, {TAGGED: 2.0, "<answer>17</answer>": 0.0, "": 0.0}),
    ("int_reward_func", {}, {TAGGED: 0.5, "<answer>x</answer>": 0.0}),
    (
        "soft_format_reward_func",
        {},
        # On one line alone: its pattern does not match line ends.
        {"<reasoning>a</reasoning> <answer>1</answer>": 0.5, TAGGED: 0.0},
    ),
    ("xmlcount_reward_func", {}, {TAGGED: 0.5, TAGGED + "!": 0.499, "": 0.0}),
    ("match_format_exactly", {}, {WORKED.format(18): 3.0, "18": 0.0}),
    ("match_format_approximately", {}, {WORKED.format(18): 2.0, "18": -2.0}),
    (
        "check_answer",
        {},
        {
            WORKED.format("18"): 3.0,
            WORKED.format(" 18 "): 1.5,
            WORKED.format("19"): 0.5,
            WORKED.format("21"): 0.25,
            WORKED.format("x"): -0.5,
            "18": 0.0,
        },
    ),
    ("check_numbers", {}, {WORKED.format("18.0 apples"): 1.5, WORKED.format("17"): 0.0}),
    (
        "format_and_language_reward_func",
        {},
        {"<think>\u0434\u0430</think>": 5.0, "<think>yes</think>": -3.0, "yes": -5.0},
    ),
    (
        "function_works",
        {},
        {MATMUL.format(RIGHT_MATMUL): 1.0, MATMUL.format("return ("): -0.5, "no code": -2.0},
    ),
    (
        "no_cheating",
        {},
        {
            MATMUL.format(RIGHT_MATMUL): 1.0,
            MATMUL.format("import math; return math.pi"): 1.0,
            MATMUL.format("import numpy; return numpy.dot(A, B)"): -20.0,
        },
    ),
    (
        "correctness_check",
        {},
        {
            MATMUL.format(RIGHT_MATMUL): 6.0,
            MATMUL.format("return [[0, 0]] * 3"): -6.0,
            MATMUL.format("return 1 / 0"): -2.0,
            "no code": 0.0,
        },
    ),
    (
        "strategy_succeeds",
        {},
        {
            STRATEGY.format("return 'W'"): 20.0,
            STRATEGY.format("return 7"): 2.0,
            STRATEGY.format("while True: pass"): -1.0,
            STRATEGY.format("return 1 / 0"): -3.0,
            "": 0.0,
        },
    ),
    (
        "gameplay_reward",
        {"seed": 3, "move_history": "[[0, 0]]"},
        {
            '{"type": "reveal", "row": 0, "col": 0}': -10.0,
            '{"type": "reveal", "row": 3, "col": 0}': 15.0,
            "no move": -25.0,
        },
    ),
    (
        "reward_fn",
        {
            "resources_server_ref": {"name": "words"},
            "verify_extra": {"word": "yes", "other": None},
        },
        {"yes, it is": 1.0, "no": 0.0},
    ),
    ("answer_is_correct", {}, {"7 to=user 18.0": 4.0, "18 to=user 7": -0.5, "": -0.5}),
]


@pytest.mark.parametrize(("name", "columns", "paid"), CASES, ids=[name for name, *_ in CASES])
def test_a_notebooks_function_runs_as_it_is(
    name: str, columns: dict[str, Any], paid: dict[str, float]
) -> None:
    problem = Problem("1", "q", "18", columns=columns)
    rollouts = [graded(Rollout(problem, text, 3), "auto") for text in paid]
    reward = Custom(name="custom", function=f"{FILE}:{name}")
    scorer = reward.open(Context(Answer(), 20.0, frozenset(columns)))
    found = [one.value if isinstance(one, Score) else one for one in scorer.score(rollouts)]
    assert found == pytest.approx(list(paid.values()))
