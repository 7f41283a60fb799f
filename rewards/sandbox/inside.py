"""What confined processes run: a candidate's code, or a whole program.

The candidate holds the code and has never seen a test. A checker (checker.py) holds the tests and
asks it over a socket, so that nothing of the candidate's is in the process that judges it.

Each role is a function of its sockets that prepares a process before it is confined, and gives the
work that is done behind the walls.
"""

import atexit
import io
import os
import sys
import threading
import types
from _sitebuiltins import Quitter
from collections.abc import Callable
from typing import Any

from rewards.sandbox.channel import READY, Channel
from rewards.sandbox.values import packed, unpacked

LONGEST_MESSAGE_OF_AN_ERROR = 300


def candidate(number: int) -> Callable[[], None]:
    """Answers a checker: what its code defines, and what its functions return."""

    def work() -> None:
        checker = Channel(number)
        checker.send(READY)
        defined = Defined()
        while True:
            try:
                asked = checker.receive()
            except EOFError:
                return
            try:
                checker.send(defined.answer(asked))
            except BaseException as error:
                checker.send({"raised": described(error)})

    prepare_python("solution.py")
    return work


class Defined:
    """The module that the code makes, and the objects of its own that the checker knows of."""

    def __init__(self) -> None:
        self.module = types.ModuleType("solution")
        sys.modules["solution"] = self.module  # dataclasses look their module up
        self.objects: list[Any] = []
        self.numbers: dict[int, int] = {}  # by id: one object is one number

    def keep(self, value: Any) -> int:
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.objects)
            self.objects.append(value)
        return self.numbers[id(value)]

    def packed(self, value: Any) -> Any:
        return packed(value, self.keep)

    def unpacked(self, value: Any) -> Any:
        return unpacked(value, self.objects.__getitem__)

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Run the code, look up or set a name, call or compare objects. May raise anything."""
        ((what, given),) = asked.items()
        if what == "code":
            exec(compile(given, "solution.py", "exec"), self.module.__dict__)
            return {"value": None}
        if what == "name":
            return {"value": self.packed(getattr(self.module, given))}
        number, *given = given
        one = self.objects[number]
        if what == "attribute":
            return {"value": self.packed(getattr(one, given[0]))}
        if what == "set":
            setattr(one, given[0], self.unpacked(given[1]))
            return {"value": None}
        if what == "equal":
            return {"value": bool(one == self.objects[given[0]])}
        args, kwargs = self.unpacked(given[0]), self.unpacked(given[1])
        reply = {"value": self.packed(one(*args, **kwargs))}
        after = self.packed(args)
        if after != given[0]:  # it changed what it was given
            reply["arguments"] = after
        return reply


def described(error: BaseException) -> dict[str, Any]:
    """An exception: the names of its classes, the nearest first, and what it says."""
    names = [kind.__name__ for kind in type(error).__mro__]
    said = error.args[0] if len(error.args) == 1 else str(error)
    return {"classes": names, "says": str(said)[:LONGEST_MESSAGE_OF_AN_ERROR]}


def program(number: int, stdin: int) -> Callable[[], None]:
    """Runs a whole program. What it prints goes to the socket, as it is."""
    os.dup2(stdin, 0)
    prepare_python("program.py")

    def work() -> None:
        client = Channel(number)
        client.send(READY)
        code = client.receive()["code"]
        os.dup2(number, 1)
        new_streams()
        module = types.ModuleType("__main__")
        module.__file__ = "program.py"
        sys.modules["__main__"] = module
        try:
            exec(compile(code, "program.py", "exec"), module.__dict__)
        finally:
            # As Python itself ends: its threads are waited for, then what was to be done at exit.
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()

    return work


def new_streams() -> None:
    """Standard input and output as they are now: the old ones had found out that they can seek."""
    stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)))
    for name, stream in (("stdin", stdin), ("stdout", stdout)):
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def prepare_python(name: str) -> None:
    """What programs find in Python when it is started with them, and not as a server."""
    import builtins

    sys.argv = [name]
    for leave in ("exit", "quit"):
        setattr(builtins, leave, Quitter(leave, "Ctrl-D"))
    sys.set_int_max_str_digits(0)
