"""What confined processes run: a candidate, a checker, or a whole program.

The candidate holds the code and has never seen a test. The checker holds the tests and asks the
candidate over a socket, so that nothing of the candidate's is in the process that judges it.

Each role is a function of its sockets that prepares a process before it is confined, and gives the
work that is done behind the walls.
"""

import builtins
import importlib
import os
import symtable
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from rewards.sandbox.channel import READY, Channel
from rewards.sandbox.values import packed, unpacked

# What a test may expect of a candidate. A StopIteration would end a loop of the test's own.
ERRORS_PASSED_ON = {
    error.__name__: error
    for error in (
        ArithmeticError,
        AssertionError,
        AttributeError,
        IndexError,
        KeyError,
        LookupError,
        NotImplementedError,
        OverflowError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
        ZeroDivisionError,
    )
}


class CandidateError(Exception):
    """The candidate raised what no test can expect of it."""


def candidate(number: int) -> Callable[[], None]:
    """Answers a checker: what its code defines, and what its functions return."""

    def work() -> None:
        checker = Channel(number)
        checker.send(READY)
        objects: list[Any] = []
        module = types.ModuleType("solution")
        sys.modules["solution"] = module  # dataclasses look their module up
        while True:
            try:
                asked = checker.receive()
            except EOFError:
                return
            try:
                reply = answer(asked, module, objects)
            except BaseException as error:
                reply = {"raised": [type(error).__name__, str(error)[:300]]}
            checker.send(reply)

    return work


def answer(asked: dict[str, Any], module: types.ModuleType, objects: list[Any]) -> dict[str, Any]:
    """Run the code, look a name or an attribute up, or call an object. May raise anything."""

    def keep(value: Any) -> int:
        objects.append(value)
        return len(objects) - 1

    ((what, given),) = asked.items()
    if what == "code":
        exec(compile(given, "solution", "exec"), module.__dict__)
        return {"value": None}
    if what == "name":
        return {"value": packed(getattr(module, given), keep)}
    if what == "attribute":
        number, name = given
        return {"value": packed(getattr(objects[number], name), keep)}
    number, args, kwargs = given
    args = unpacked(args, objects.__getitem__)
    value = objects[number](*args, **unpacked(kwargs, objects.__getitem__))
    reply = {"value": packed(value, keep)}
    if value is None:  # it may have changed what it was given
        reply["arguments"] = packed(args, keep)
    return reply


class Remote:
    """An object of the candidate's, as the tests see it. It equals nothing but itself."""

    def __init__(self, number: int, ask: Callable[[str, Any], dict[str, Any]]) -> None:
        self._number, self._ask = number, ask

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = packed(list(args), number_of), packed(kwargs, number_of)
        reply = self._ask("call", [self._number, *given])
        if "arguments" in reply:
            for old, new in zip(args, self._value(reply["arguments"]), strict=True):
                change(old, new)
        return self._value(reply["value"])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._value(self._ask("attribute", [self._number, name])["value"])

    def _value(self, value: Any) -> Any:
        return unpacked(value, lambda number: Remote(number, self._ask))


def number_of(value: Any) -> int:
    """The candidate's own object among the arguments. Raises TypeError for one of the tests'."""
    if not isinstance(value, Remote):
        raise TypeError(f"a test cannot give an object of {type(value).__name__} to the candidate")
    return value._number


def change(old: Any, new: Any) -> None:
    """Make a list, set or dictionary of the tests what the candidate made of its copy."""
    if type(old) is not type(new):
        return
    if isinstance(old, list):
        old[:] = new
    elif isinstance(old, set | dict):
        old.clear()
        old.update(new)


def checker(client_number: int, candidate_number: int) -> Callable[[], None]:
    """Puts tests to a candidate, and says of each whether it passed."""

    def work() -> None:
        client, other = Channel(client_number), Channel(candidate_number)
        client.send(READY)
        job = client.receive()
        if (first := other.receive()) != READY:
            client.send(first)
            return
        client.send(READY)

        def ask(what: str, given: Any) -> dict[str, Any]:
            other.send({what: given})
            reply = other.receive()
            if "raised" in reply:
                name, text = reply["raised"]
                raise ERRORS_PASSED_ON.get(name, CandidateError)(text)
            return dict(reply)

        try:
            ask("code", job["code"])
            space = names_for(job["setup"], job["tests"], ask)
        except BaseException as error:
            client.send({"code failed": in_words(error)})
            return
        for test in job["tests"]:
            try:
                exec(compile(test, "test", "exec"), space)
            except BaseException as error:
                client.send({"failed": in_words(error)})
            else:
                client.send({"passed": True})

    return work


def in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300].removesuffix(": ")


def names_for(
    setup: str, tests: list[str], ask: Callable[[str, Any], dict[str, Any]]
) -> dict[str, Any]:
    """What the tests find: their setup, and the candidate's for names that nothing else has.

    A candidate cannot put its own `len` or `math` under a test.
    """
    space: dict[str, Any] = {"__name__": "tests"}
    exec(compile(setup, "setup", "exec"), space)
    for name in sorted(unbound_names("\n".join(tests))):
        if name in space:
            continue
        if name in sys.stdlib_module_names:
            space[name] = importlib.import_module(name)
            continue
        try:
            value = ask("name", name)["value"]
        except AttributeError:  # the test that asks for it fails
            continue
        space[name] = unpacked(value, lambda number: Remote(number, ask))
    return space


def unbound_names(source: str) -> set[str]:
    """The names that some Python code reads and never binds, Python's own apart."""
    bound, read = set(vars(builtins)), set()
    for table in all_tables(symtable.symtable(source, "tests", "exec")):
        top = table.get_type() == "module"
        for symbol in table.get_symbols():
            if top and (symbol.is_assigned() or symbol.is_imported()):
                bound.add(symbol.get_name())
            elif symbol.is_referenced() and (top or symbol.is_global()):
                read.add(symbol.get_name())
    return read - bound


def all_tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from all_tables(child)


def program(number: int, stdin: int) -> Callable[[], None]:
    """Runs a whole program. What it prints goes to the socket, as it is."""
    os.dup2(stdin, sys.stdin.fileno())

    def work() -> None:
        client = Channel(number)
        client.send(READY)
        code = client.receive()["code"]
        os.dup2(number, sys.stdout.fileno())
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        try:
            exec(compile(code, "program", "exec"), module.__dict__)
        finally:
            sys.stdout.flush()

    return work
