"""How the rows of a data set write their tests: as statements for functions, or pairs for programs.

A row whose tests nobody could fail, or nobody could pass, is worse than none: everything would be
paid alike. So what tests nothing of the code, or asks for packages that are not there, is refused.
"""

import ast
import builtins
import json
import symtable
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rewards.sandbox.checker import public_names
from rewards.sandbox.walls.confine import Limits

# What data sets call the imports that tests begin with (MBPP), and the function that HumanEval's
# check() is given.
SETUP_NAMES = ("test_setup_code", "test_imports")
ENTRY_POINT = "entry_point"
# Statements that test nothing by themselves.
DEFINES = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
RUN_TEST_CASES = """
import unittest
_result = unittest.TestResult()
for _case in ({cases},):
    unittest.defaultTestLoader.loadTestsFromTestCase(_case).run(_result)
assert _result.testsRun and _result.wasSuccessful()
"""


def limits_of(tests: Mapping[str, Any]) -> Limits:
    """What a program may take; a row may say so itself. Raises ValueError or TypeError."""
    return Limits(**tests.get("limits", {}))


def read_tests(value: Any, columns: Mapping[str, Any], solution: str = "") -> dict[str, Any]:
    """What a row's tests are.

    For functions {"setup": ..., "tests": [...], "names": [...]}: Python statements, and the names
    that the code has to define. For programs {"pairs": [[read, printed], ...]}. `limits` beside
    them are the row's own: {"seconds": 10, "memory_mib": 1024}. `columns` and `solution` are the
    row's. Raises ValueError, TypeError, KeyError or SyntaxError where the value is no tests.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        value = json.loads(value)
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and value and isinstance(value[0], str):
        setup = next((columns[name] for name in SETUP_NAMES if columns.get(name)), "")
        entry_point = columns.get(ENTRY_POINT)
        helpers = helpers_of(columns.get("prompt"), entry_point)
        return functions(value, [*helpers, setup] if helpers else setup, entry_point, solution)
    if isinstance(value, list):
        return {"pairs": checked([[one["input"], one["output"]] for one in value])}
    limits = {"limits": value["limits"]} if "limits" in value else {}
    limits_of(limits)
    if "tests" in value:
        tests, entry_point = value["tests"], value.get(ENTRY_POINT, columns.get(ENTRY_POINT))
        tests = [tests] if isinstance(tests, str) else tests
        return functions(tests, value.get("setup", ""), entry_point, solution) | limits
    if "fn_name" in value:
        raise ValueError("fn_name: calls of a function, which are to be written as asserts")
    pairs = zip(value["inputs"], value["outputs"], strict=True)
    return {"pairs": checked([[read, printed] for read, printed in pairs])} | limits


def checked(pairs: list[list[Any]]) -> list[list[str]]:
    """Pairs of texts. Raises ValueError where there is nothing that a program has to print."""
    found = [[text_of(read), text_of(printed)] for read, printed in pairs]
    if not any(printed.strip() for _, printed in found):
        raise ValueError("nothing has to be printed, so everything would be right")
    return found


def text_of(value: Any) -> str:
    """What a program reads or prints; a list is its lines."""
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def functions(texts: list[str], setup: Any, entry_point: Any, solution: str) -> dict[str, Any]:
    setup = "\n".join(map(str, setup)) if isinstance(setup, list) else str(setup or "")
    tests = [test for text in texts for test in python_tests(text, entry_point)]
    if not tests:
        raise ValueError("no tests")
    everything = "\n".join([setup, *tests])
    check_imports(everything)
    names = names_of(everything, entry_point, solution)
    if not names:
        raise ValueError("the tests use nothing that the code defines")
    return {"setup": setup, "tests": tests, "names": sorted(names)}


def helpers_of(prompt: Any, entry_point: Any) -> list[str]:
    """What a HumanEval prompt defines beside the function that is asked for: check() may use it."""
    if not entry_point or not isinstance(prompt, str):
        return []
    try:
        body = ast.parse(prompt).body
    except (SyntaxError, ValueError, RecursionError):  # it is text
        return []
    return [
        ast.unparse(node)
        for node in body
        if isinstance(node, DEFINES) and getattr(node, "name", "") != entry_point
    ]


def python_tests(text: str, entry_point: Any) -> list[str]:
    """One test for each assert, where there is nothing else; else the text as one test.

    HumanEval's check() is called with the entry point, pytest's functions are called, and
    unittest's classes are run.
    """
    body = ast.parse(text).body
    check_asserts(body)
    if all(isinstance(statement, ast.Assert) for statement in body):
        return [ast.unparse(statement) for statement in body]
    functions_there = [one.name for one in body if isinstance(one, ast.FunctionDef)]
    if "check" in functions_there and entry_point:
        return [f"{text}\ncheck({entry_point})"]
    if pytests := [name for name in functions_there if name.startswith("test_")]:
        return [text + "".join(f"\n{name}()" for name in pytests)]
    if cases := [one.name for one in body if isinstance(one, ast.ClassDef) and is_test_case(one)]:
        return [text + RUN_TEST_CASES.format(cases=", ".join(cases))]
    if all(isinstance(statement, DEFINES) for statement in body):
        raise ValueError("tests nothing: it only defines")
    return [text]


def check_asserts(body: list[ast.stmt]) -> None:
    """Raise ValueError where nothing is asserted, or a pair, which is always true."""
    asserts = False
    for node in ast.walk(ast.Module(body, [])):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Tuple):
            raise ValueError("assert (a, b) is always true")
        asserts |= isinstance(node, ast.Assert | ast.Raise)
        asserts |= isinstance(node, ast.Attribute) and node.attr.startswith("assert")
    if not asserts:
        raise ValueError("nothing is asserted")


def is_test_case(node: ast.ClassDef) -> bool:
    return any("TestCase" in ast.unparse(base) for base in node.bases)


def check_imports(source: str) -> None:
    """Raise ValueError for a package that is not there: the standard library is, and no other."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            if name.split(".")[0] not in (*sys.stdlib_module_names, "solution"):
                raise ValueError(f"the tests import {name}, which is not in the sandbox")


def names_of(source: str, entry_point: Any, solution: str) -> set[str]:
    """The names that the code has to define, and that it alone may.

    With an entry point that one; else what the row's own solution defines and the tests use; else
    what the tests use and nobody defines, as far as it is not known from the standard library.
    """
    read, bound = names_in(source)
    imported = {
        alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.module == "solution"
        for alias in node.names
    }
    if entry_point:
        nodes = ast.walk(ast.parse(entry_point))  # also Solution().twoSum
        return {node.id for node in nodes if isinstance(node, ast.Name)} | imported
    if defined := top_level(solution):
        return (read - bound) & defined | imported
    unbound = read - bound - set(dir(builtins)) - set(sys.stdlib_module_names)
    return (unbound - public_names().keys() or unbound) | imported


def top_level(code: str) -> set[str]:
    """The functions, classes and values that code defines; nothing where it does not parse."""
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    found = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def names_in(source: str) -> tuple[set[str], set[str]]:
    """The names that Python code reads from outside, and those that it binds at its top."""
    read, bound = set(), set()
    for table in all_tables(symtable.symtable(source, "tests", "exec")):
        top = table.get_type() == "module"
        for symbol in table.get_symbols():
            if top and (symbol.is_assigned() or symbol.is_imported()):
                bound.add(symbol.get_name())
            elif symbol.is_referenced() and (top or symbol.is_global()):
                read.add(symbol.get_name())
    return read, bound


def all_tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from all_tables(child)
