"""Puts tests to a candidate, which is in a process of its own, and says of each whether it passed.

A test passes if it raises nothing, and if it asked the candidate anything: what is true without the
candidate shows nothing of it.
"""

import builtins
import importlib
import sys
import types
from collections.abc import Callable
from functools import cache
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
        EOFError,
        IndexError,
        KeyError,
        LookupError,
        NameError,
        NotImplementedError,
        OSError,
        OverflowError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
        ZeroDivisionError,
    )
}
# Some tests use these, and what is in them, and leave the import to the code.
KNOWN_MODULES = ["math", "collections", "itertools", "functools", "heapq", "bisect", "typing"]
KNOWN_MODULES += ["re", "string", "random", "datetime"]


class CandidateError(Exception):
    """The candidate raised what no test can expect of it."""


class Candidate:
    """The other process, as the tests reach it."""

    def __init__(self, number: int) -> None:
        self.channel = Channel(number)
        self.calls = 0
        self.known: dict[int, Remote] = {}

    def ask(self, what: str, given: Any) -> dict[str, Any]:
        """Raises what the candidate raised, EOFError where it has ended."""
        self.channel.send({what: given})
        reply = self.channel.receive()
        if "raised" in reply:
            raise error_of(reply["raised"])
        return dict(reply)

    def packed(self, value: Any) -> Any:
        return packed(value, number_of)

    def unpacked(self, value: Any) -> Any:
        return unpacked(value, self.remote)

    def remote(self, number: int) -> "Remote":
        """What stands for an object of the candidate's; always the same for one."""
        return self.known.setdefault(number, Remote(number, self))

    def call(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.calls += 1
        reply = self.ask("call", [number, self.packed(list(args)), self.packed(kwargs)])
        for old, new in zip(args, self.unpacked(reply.get("arguments", [])), strict=False):
            change(old, new)
        return self.unpacked(reply["value"])


class Remote:
    """An object of the candidate's. It equals no plain value, whatever it says of itself."""

    def __init__(self, number: int, candidate: Candidate) -> None:
        self.__dict__.update(_number=number, _candidate=candidate)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._candidate.call(self._number, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        asked = self._candidate.ask("attribute", [self._number, name])
        return self._candidate.unpacked(asked["value"])

    def __setattr__(self, name: str, value: Any) -> None:
        self._candidate.ask("set", [self._number, name, self._candidate.packed(value)])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Remote):
            return False
        asked = self._candidate.ask("equal", [self._number, other._number])
        return asked["value"] is True

    __hash__ = object.__hash__


def number_of(value: Any) -> int:
    """The candidate's own object among the arguments. Raises TypeError for one of the tests'."""
    if not isinstance(value, Remote):
        raise TypeError(f"a test cannot give an object of {type(value).__name__} to the candidate")
    return int(value._number)


def change(old: Any, new: Any) -> None:
    """Make a list, set or dictionary of the tests what the candidate made of its copy."""
    if type(old) is not type(new):
        return
    if isinstance(old, list | bytearray):
        old[:] = new
    elif isinstance(old, set | dict):
        old.clear()
        old.update(new)


def error_of(raised: dict[str, Any]) -> Exception:
    """The nearest of an exception's classes that a test may expect."""
    says = str(raised["says"])
    for name in raised["classes"]:
        if name in ERRORS_PASSED_ON:
            return ERRORS_PASSED_ON[name](says)
    return CandidateError(f"{raised['classes'][0]}: {says}")


def checker(client_number: int, candidate_number: int) -> Callable[[], None]:
    """The role: reads {"code", "setup", "tests", "names"}, and tells of each test."""

    def work() -> None:
        client, candidate = Channel(client_number), Candidate(candidate_number)
        client.send(READY)
        job = client.receive()
        first = candidate.channel.receive()
        client.send(first)
        if first != READY:
            return
        try:
            candidate.ask("code", job["code"])
            space = names_for(job["setup"], job["names"], candidate)
        except BaseException as error:
            client.send({"code failed": in_words(error)})
            return
        for test in job["tests"]:
            before = candidate.calls
            try:
                exec(compile(test, "test", "exec"), space)
            except BaseException as error:
                client.send({"failed": in_words(error)})
            else:
                asked = candidate.calls > before
                client.send({"passed": True} if asked else {"failed": "it asked nothing"})

    return work


def in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300].removesuffix(": ")


@cache
def public_names() -> dict[str, Any]:
    """Modules that tests use without importing them, and what is in them but in no built-in."""
    modules = {name: importlib.import_module(name) for name in KNOWN_MODULES}
    found: dict[str, Any] = {}
    for module in modules.values():
        for public in dir(module):
            if not public.startswith("_") and not hasattr(builtins, public):
                found.setdefault(public, getattr(module, public))
    return found | modules


def names_for(setup: str, names: list[str], candidate: Candidate) -> dict[str, Any]:
    """What the tests find: their setup, and of the candidate's those names that are its to define.

    A candidate cannot put its own `len`, `math` or helper of the tests under a test.
    """
    space: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins}
    solution = types.ModuleType("solution")  # some tests import from it
    sys.modules["solution"] = solution
    for name in names:
        try:
            value = candidate.unpacked(candidate.ask("name", name)["value"])
        except AttributeError:  # the test that asks for it fails
            continue
        space[name] = value
        setattr(solution, name, value)
    space = public_names() | space
    exec(compile(setup, "setup", "exec"), space)
    return space
