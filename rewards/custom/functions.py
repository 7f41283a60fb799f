"""Finds the functions that recipes name: path/to/file.py:function, or package.module.function."""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from onecard.types import UserError

WANTED = "wanted path/to/file.py:function or package.module.function"
# With one of these in a file, a name may come to be that nobody finds by reading.
MAKE_NAMES = {"*", "globals", "exec", "setattr"}


def check_function(name: str) -> None:
    """Raise UserError naming what keeps a function from being found.

    No file is run: Unsloth must be imported before TRL or transformers are.
    """
    where, attribute = split_name(name)
    if missing := missing_from(where, attribute):
        raise UserError(f"rewards: custom function {name!r}: {missing}; {WANTED}")


def missing_from(where: str, attribute: str) -> str | None:
    """What keeps `attribute` from being found in a file or a package; None where nothing does.

    Neither is run.
    """
    if not where or attribute == "py":
        return "it names no function"
    if not where.endswith(".py"):
        package = where.partition(".")[0]
        return None if package in sys.modules or find_spec(package) else f"no package {package!r}"
    if not Path(where).is_file():
        return f"no file {where}"
    try:
        tree = ast.parse(Path(where).read_bytes(), where)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        # The last two are for brackets without end.
        return str(error) or type(error).__name__
    if {attribute, *MAKE_NAMES} & names_in(tree):
        return None
    return f"no {attribute!r} in {where}"


def names_in(tree: ast.AST) -> set[str]:
    """The names that Python code defines, assigns or imports anywhere in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    return found


@cache
def load_function(name: str) -> Callable[..., Any]:
    """The function of that name; its file is run once. Raises UserError naming what is missing."""
    where, attribute = split_name(name)
    try:
        module = run_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
        function: Callable[..., Any] = getattr(module, attribute)
        if not callable(function):
            raise TypeError(f"{attribute} is not a function")
    except (Exception, SystemExit) as error:  # the file is the user's own and may raise anything
        raise UserError(f"rewards: custom function {name!r}: {error}; {WANTED}") from None
    return function


@cache
def run_file(file: Path) -> Any:
    """The module that a file makes. The files beside it can be imported, as in `python FILE`."""
    spec = importlib.util.spec_from_file_location(f"onecard_custom_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up while it runs
    with helpers_in(str(file.resolve().parent)):
        spec.loader.exec_module(module)
    return module


@contextmanager
def helpers_in(folder: str) -> Iterator[None]:
    """Look for modules in `folder` first; and from then on last, for imports inside functions."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)


def split_name(name: str) -> tuple[str, str]:
    """A file or module, and what stands in it."""
    where, colon, attribute = name.rpartition(":")
    if not colon:
        where, _, attribute = name.rpartition(".")
    return where, attribute
