"""The fork server: a small process that makes others, in milliseconds.

For programs that nobody trusts it is started with the standard library alone and an empty
environment. So what it forks has never held torch, a token, a data set or a test: a forked process
can read all that its parent had in memory. For the same reason the server reads no code. It is
given the ends of sockets, and the new process reads its work from them.

On its control socket: {"fork": "module:function", "id": N, "seconds": S, "memory_mib": M} with the
sockets beside it, and {"kill": N}. The function gets the numbers of the sockets before the process
is confined, and returns the work that is done behind the walls. Processes end with the server, and
the server with its control socket.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import random
import select
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from rewards.sandbox.channel import Channel
from rewards.sandbox.walls.confine import (
    Limits,
    confine,
    end_with,
    tasks_of_user,
    unused_users,
)

LONGEST_REQUEST = 4096
MOST_SOCKETS = 2
GRACE_SECONDS = 60.0  # beyond its own time, for a process that the client forgot
WAKES_SECONDS = 1.0
# Nothing can be read from a disk inside, so all of the library is imported before.
NOT_IMPORTED = {"antigravity", "this", "idlelib", "tkinter", "turtle", "turtledemo", "lib2to3"}
NOT_IMPORTED |= {"ensurepip", "venv", "distutils", "test", "pydoc_data", "cgitb", "crypt"}
WITH_PARTS = ["asyncio", "collections", "concurrent", "ctypes", "email", "encodings", "html"]
WITH_PARTS += ["http", "importlib", "json", "logging", "multiprocessing", "unittest", "urllib"]
WITH_PARTS += ["xml"]


def import_library() -> None:
    """Every module of the standard library that a program may ask for."""
    names = sorted(sys.stdlib_module_names - NOT_IMPORTED)
    public = [name for name in names if not name.startswith("_")]
    public += ["_strptime", "_pydecimal", "_pyio", "_markupbase", "_sitebuiltins"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of those that are to go in later versions
        for name in [*public, *parts_of(WITH_PARTS)]:
            with contextlib.suppress(Exception):  # Windows' own
                importlib.import_module(name)
    time.strptime("2026", "%Y")  # imports what it needs


def parts_of(packages: list[str]) -> Iterator[str]:
    """The modules inside some packages; a package inside is gone into."""
    for name in packages:
        package = importlib.import_module(name)
        for part in pkgutil.iter_modules(package.__path__, f"{name}."):
            if part.name.endswith("__main__"):
                continue
            yield part.name
            if part.ispkg:
                yield from parts_of([part.name])


class Running(NamedTuple):
    """A process: its number, when it is overdue, and the user that it became, if root's."""

    process: int
    deadline: float
    user: int | None


class Server:
    """The processes that are running, by the number that the client gave them."""

    def __init__(self, control: socket.socket, confined: bool) -> None:
        self.control, self.confined = control, confined
        self.users = unused_users() if confined else []
        self.root = bool(self.users)
        self.running: dict[int, Running] = {}

    def serve(self) -> None:
        """Until the client is gone."""
        while True:
            readable, _, _ = select.select([self.control], [], [], WAKES_SECONDS)
            self.reap()
            if readable and not self.answer():
                break
        for number in list(self.running):
            self.kill(number)

    def answer(self) -> bool:
        """Do what the client asks next; False when it is gone."""
        asked, sockets, _, _ = socket.recv_fds(self.control, LONGEST_REQUEST, MOST_SOCKETS)
        if not asked:
            return False
        request = json.loads(asked)
        if "kill" in request:
            self.kill(request["kill"])
            return True
        limits = Limits(request["seconds"], request["memory_mib"])
        # Where no process or user is to be had, the sockets are closed unanswered.
        with contextlib.suppress(OSError, IndexError):
            self.running[request["id"]] = self.fork(request["fork"], limits, sockets)
        for end in sockets:
            os.close(end)
        return True

    def fork(self, role: str, limits: Limits, sockets: list[int]) -> Running:
        """A new process in its role, which never returns here.

        Raises OSError where none can be made, IndexError where all users are in use.
        """
        parent, tasks = os.getpid(), 0
        if self.confined and not self.root:
            tasks = tasks_of_user()
        user = self.users.pop() if self.root else None
        try:
            process = os.fork()
        except OSError:
            self.give_back(user)
            raise
        if process:
            return Running(process, time.monotonic() + limits.seconds + GRACE_SECONDS, user)
        try:
            self.control.close()
            module, _, function = role.partition(":")
            work = getattr(importlib.import_module(module), function)(*sockets)
            try:
                if self.confined:
                    confine(limits, user, tasks, parent)
                else:
                    end_with(parent)
            except BaseException as error:
                why = f"{type(error).__name__}: {error}"
                Channel(sockets[0]).send({"not confined": why})
                raise
            work()
        finally:
            os._exit(0)

    def reap(self) -> None:
        """Forget the processes that have ended, and end those that are overdue."""
        now = time.monotonic()
        for number, one in list(self.running.items()):
            if os.waitpid(one.process, os.WNOHANG)[0]:
                self.give_back(self.running.pop(number).user)
            elif now > one.deadline:
                self.kill(number)

    def kill(self, number: int) -> None:
        """End a process, if it runs still. It has no children: none can be made in there."""
        if number in self.running:
            one = self.running.pop(number)
            os.kill(one.process, signal.SIGKILL)  # not reaped yet, so the number is its own
            os.waitpid(one.process, 0)
            self.give_back(one.user)

    def give_back(self, user: int | None) -> None:
        if user is not None:
            self.users.append(user)


def main(options: str) -> None:
    """Serve the control socket that the options name, as JSON; see ForkServer.start."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's
    wanted = json.loads(options)
    control = socket.socket(fileno=wanted["control"])
    sys.path += wanted["path"]
    if wanted["library"]:
        import_library()
        random.seed(0)  # a program with chance in it is paid alike, whenever it runs
    for module in wanted["modules"]:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    control.send(b"ready")
    Server(control, wanted["confined"]).serve()
