"""Python code, judged by the tests of its row. They are run in a sandbox (rewards/sandbox)."""

import ast
import json
import os
import threading
from functools import lru_cache
from textwrap import dedent
from typing import Any

from onecard.types import Problem, UserError
from rewards.answer.kinds.base import Kind
from rewards.answer.markers import after_thinking, marked, tagged
from rewards.answer.row_tests import limits_of, read_tests
from rewards.answer.section import AnswerFormat
from rewards.sandbox.client import ForkServerError
from rewards.sandbox.proven import proven_sandbox
from rewards.sandbox.trial import Trial, try_functions, try_program

FENCE = "```"
PYTHON = {"python", "python3", "py"}
TRIALS_KEPT = 4096
# No more than processors: the time limit is on the clock, and nobody is to lose it to others.
AT_ONCE = os.cpu_count() or 1
SLOTS = threading.BoundedSemaphore(AT_ONCE)


class Code(Kind):
    """Right is what passes all tests. A gold is the tests, as JSON: see row_tests.py.

    The code is the last fenced block after the thinking, or what stands in <answer> tags; with
    answer.format `answer` the tags alone count.
    """

    wanted = (
        "tests that call the code: a list of statements such as 'assert add(1, 2) == 3', text with"
        " check() and a column entry_point, or {inputs: [...], outputs: [...]}"
        " (rewards/README.md)"
    )
    longest = 20_000
    solution_is_answer = True

    def ready(self) -> None:
        proven_sandbox()

    def read_row(self, value: Any, problem: Problem) -> str | None:
        try:
            return json.dumps(read_tests(value, problem.columns, problem.solution))
        except (ValueError, TypeError, KeyError, SyntaxError, RecursionError):
            return None

    def read_gold(self, value: Any) -> str | None:
        return self.read_row(value, Problem("", "", ""))

    def declared(self, text: str, answer_format: AnswerFormat, longest: int) -> list[str]:
        text = after_thinking(text)
        block = last_block(text)
        if answer_format == "answer" or block is None:
            return [without_fence(span) for span in tagged(text)[-1:]]
        return [block]

    def equal(self, answer: str, gold: str) -> bool | None:
        try:
            return all(trial_of(answer, gold).passed)
        except (ForkServerError, UserError):
            return None

    def seconds(self, gold: str) -> float:
        return limits_of(json.loads(gold)).seconds

    def answer_of(self, problem: Problem) -> str | None:
        """The row's own solution; HumanEval's goes on where its prompt ends."""
        code, prompt = problem.solution, problem.columns.get("prompt")
        if code and isinstance(prompt, str) and not parses(code) and parses(prompt + code):
            return prompt + code
        return code or None

    def another(self, gold: str) -> str:
        return "def nothing():\n    pass"

    def marked(self, answer: str, answer_format: AnswerFormat) -> str:
        if answer_format == "answer":
            return marked(answer, answer_format)
        return f"{FENCE}python\n{answer}\n{FENCE}"


@lru_cache(maxsize=TRIALS_KEPT)
def trial_of(code: str, gold: str) -> Trial:
    """What code passes of the tests of a gold; the same code is run once.

    Raises ForkServerError where it could not be run.
    """
    tests = json.loads(gold)
    limits, sandbox = limits_of(tests), proven_sandbox()
    with SLOTS:
        if "pairs" in tests:
            return try_program(sandbox, code, [tuple(pair) for pair in tests["pairs"]], limits)
        functions = tests["setup"], tests["tests"], tests["names"]
        return try_functions(sandbox, code, *functions, limits)


def parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def looks_like_tests(gold: Any) -> bool:
    """Whether a gold is a list of asserts, or what programs read and print."""
    if isinstance(gold, dict):
        return {"inputs", "outputs"} <= set(gold)
    asserts = isinstance(gold, list) and bool(gold)
    return asserts and all(isinstance(one, str) and one.startswith("assert ") for one in gold)


def last_block(text: str) -> str | None:
    """The last closed block that is labelled as Python, or the last without a label.

    What a model adds after its code, such as an example of the output, has often no label. None
    without a block. Linear in the length of the text.
    """
    labelled = unlabelled = label = None
    lines: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if label is None and stripped.startswith(FENCE):
            label, lines = stripped.removeprefix(FENCE).split(" ")[0].lower(), []
            continue
        if label is None:
            continue
        if not stripped.endswith(FENCE):
            lines.append(line)
            continue
        lines.append(line.rstrip().removesuffix(FENCE))
        block = dedent("\n".join(lines)).strip("\n").rstrip()
        if label in PYTHON:
            labelled = block
        elif not label:
            unlabelled = block
        label = None
    return unlabelled if labelled is None else labelled


def without_fence(span: str) -> str:
    block = last_block(span)
    return span if block is None else block
