"""Python code, judged by the tests of its row. They are run in a sandbox (rewards/sandbox)."""

import ast
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from onecard.types import Problem, UserError
from rewards.answer.kinds.base import Kind
from rewards.answer.markers import after_thinking, marked, tagged
from rewards.answer.section import AnswerFormat
from rewards.sandbox.client import ForkServerError
from rewards.sandbox.proven import proven_sandbox
from rewards.sandbox.trial import Trial, try_functions, try_program
from rewards.sandbox.walls.confine import Limits

FENCE = "```"
# What data sets call the imports that tests begin with (MBPP), and the function that HumanEval's
# check() is given.
SETUP_NAMES = ("test_setup_code", "test_imports")
ENTRY_POINT = "entry_point"
# Statements that test nothing by themselves.
DEFINES = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
TRIALS_KEPT = 4096


class Code(Kind):
    """Right is what passes all tests. A gold is the tests, as JSON: see `read_tests`.

    The code is the last fenced block after the thinking, or what stands in <answer> tags; with
    answer.format `answer` the tags alone count.
    """

    wanted = (
        "tests: a list of Python statements such as 'assert add(1, 2) == 3', text with check() and"
        " a column entry_point, or {inputs: [...], outputs: [...]}"
    )
    longest = 20_000
    solution_is_answer = True

    def ready(self) -> None:
        proven_sandbox()

    def read_row(self, value: Any, columns: Mapping[str, Any]) -> str | None:
        try:
            return json.dumps(read_tests(value, columns))
        except (ValueError, TypeError, KeyError, SyntaxError, RecursionError):
            return None

    def read_gold(self, value: Any) -> str | None:
        return self.read_row(value, {})

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
        return problem.solution or None

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
    if "pairs" in tests:
        return try_program(sandbox, code, [tuple(pair) for pair in tests["pairs"]], limits)
    return try_functions(sandbox, code, tests["setup"], tests["tests"], limits)


def limits_of(tests: dict[str, Any]) -> Limits:
    """What a program may take; a row may say so itself."""
    return Limits(**tests.get("limits", {}))


def read_tests(value: Any, columns: Mapping[str, Any]) -> dict[str, Any]:
    """{"setup": ..., "tests": [...]} for functions, {"pairs": [[read, printed], ...]} for programs.

    `limits` beside them are the row's own: {"seconds": 10, "memory_mib": 1024}. Raises ValueError,
    TypeError, KeyError or SyntaxError where the value is no tests, or tests nothing.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        value = json.loads(value)
    if isinstance(value, str):
        return functions(python_tests(value, columns), columns)
    if isinstance(value, list) and value and isinstance(value[0], str):
        return functions([test for text in value for test in python_tests(text, columns)], columns)
    if isinstance(value, list):
        return {"pairs": [[text_of(one["input"]), text_of(one["output"])] for one in listed(value)]}
    limits = {"limits": value["limits"]} if "limits" in value else {}
    limits_of(limits)
    if "tests" in value:
        setup = {"test_setup_code": value.get("setup", "")}
        return read_tests(value["tests"], {**columns, **setup}) | limits
    pairs = zip(listed(value["inputs"]), value["outputs"], strict=True)
    return {"pairs": [[text_of(read), text_of(printed)] for read, printed in pairs]} | limits


def looks_like_tests(gold: Any) -> bool:
    """Whether a gold is a list of asserts, or what programs read and print."""
    if isinstance(gold, dict):
        return {"inputs", "outputs"} <= set(gold)
    asserts = isinstance(gold, list) and bool(gold)
    return asserts and all(isinstance(one, str) and one.startswith("assert ") for one in gold)


def functions(tests: list[str], columns: Mapping[str, Any]) -> dict[str, Any]:
    setup = next((columns[name] for name in SETUP_NAMES if columns.get(name)), "")
    setup = "\n".join(setup) if isinstance(setup, list) else str(setup)
    compile(setup, "setup", "exec")
    return {"setup": setup, "tests": listed(tests)}


def python_tests(text: str, columns: Mapping[str, Any]) -> list[str]:
    """One test for each assert, where there is nothing else; else the text as one test."""
    body = ast.parse(text).body
    if all(isinstance(statement, ast.Assert) for statement in body):
        return [ast.unparse(statement) for statement in body]
    defined = {one.name for one in body if isinstance(one, ast.FunctionDef)}
    if "check" in defined and ENTRY_POINT in columns:
        return [f"{text}\ncheck({columns[ENTRY_POINT]})"]
    if all(isinstance(statement, DEFINES) for statement in body):
        raise ValueError("tests nothing: it only defines")
    return [text]


def listed(values: Any) -> list[Any]:
    """Raises ValueError where there is nothing, which everything would pass."""
    if not isinstance(values, list) or not values:
        raise ValueError("no tests")
    return values


def text_of(value: Any) -> str:
    """What a program reads or prints; a list is its lines."""
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def last_block(text: str) -> str | None:
    """What stands in the last fenced block; None without one, or where it is not closed."""
    before, fence, _ = text.rpartition(FENCE)
    if not fence or before.count(FENCE) % 2 == 0:
        return None
    return inside_fence(before.rpartition(FENCE)[2])


def inside_fence(block: str) -> str:
    """A block without the name of its language."""
    first, _, rest = block.partition("\n")
    return (rest if first.strip().isalnum() or not first.strip() else block).rstrip()


def without_fence(span: str) -> str:
    block = last_block(span)
    return span if block is None else block
