"""The fork server and its processes, seen from outside."""

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from onecard.types import UserError
from rewards.sandbox.channel import READY, Channel
from rewards.sandbox.walls import kernel
from rewards.sandbox.walls.confine import Limits
from rewards.sandbox.walls.seccomp import allowed_calls

ROOT = Path(__file__).parent.parent.parent
DYING_SECONDS = 0.02  # from a server's end, which its processes hear of first, to its being seen
START_SECONDS = 120.0  # a user's own file may import torch
# -P and -s: no folder of the caller's is looked into. -S: nor any package that is installed.
FLAGS = ("-P", "-s")
SERVER = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    " from rewards.sandbox.server import main; main(sys.argv[2])"
)
# Of programs and their tests; imported before a process is made, and not in each anew.
ROLES = ("rewards.sandbox.inside", "rewards.sandbox.checker")
# Sets of texts have one order, whenever a program runs.
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}


class ForkServerError(Exception):
    """A process was not made, or not confined. Nothing was run in it."""


class ForkServer:
    """Makes processes in milliseconds. Its methods may be called from several threads.

    Confined ones compute, and can do nothing else. `modules` are imported before the first is made;
    without any, the whole standard library is, and no other package can be. Those that are not
    confined have our environment, our folder and our sys.path: they run what the user trusts, and
    can be killed.
    """

    def __init__(self, modules: Sequence[str] = (), confined: bool = True) -> None:
        """Raises UserError, with what to do, where the walls cannot be built here."""
        if confined:
            check_kernel()
        self.modules, self.confined = tuple(modules), confined
        self.lock = threading.Lock()
        self.numbers = itertools.count()
        self.server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Raises ForkServerError where the server does not start."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        options = {
            "control": theirs.fileno(),
            "modules": self.modules or ROLES,
            "library": not self.modules,
            "confined": self.confined,
            "path": [] if self.confined else sys.path,
        }
        command = [sys.executable, *FLAGS, *(() if self.modules else ("-S",)), "-c", SERVER]
        output = subprocess.DEVNULL if self.confined else None
        with theirs:
            self.server = subprocess.Popen(
                [*command, str(ROOT), json.dumps(options)],
                cwd="/" if self.confined else None,
                env=ENVIRONMENT if self.confined else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
            )
        ours.settimeout(START_SECONDS)
        self.control = ours
        if ours.recv(16) != b"ready":
            self.close()
            raise ForkServerError("the fork server ends as it starts")

    @contextmanager
    def process(self, role: str, limits: Limits, *ends: int) -> Iterator[None]:
        """A confined process that has these sockets, ended with the block.

        Raises ForkServerError where the server cannot be asked.
        """
        number = next(self.numbers)
        limited = {"seconds": limits.seconds, "memory_mib": limits.memory_mib}
        wanted = json.dumps({"fork": role, "id": number} | limited).encode()
        with self.lock:
            try:
                if self.server is None or self.server.poll() is not None:
                    self.start()
                try:
                    socket.send_fds(self.control, [wanted], ends)
                except OSError:  # it is ending just now
                    self.close()
                    self.start()
                    socket.send_fds(self.control, [wanted], ends)
            except OSError as error:
                raise ForkServerError(f"the fork server cannot be asked: {error}") from None
        try:
            yield
        finally:
            self.kill(number)

    def kill(self, number: int) -> None:
        """End a process; where the server is gone, it has ended."""
        with self.lock, suppress(OSError):
            if self.server is not None:
                self.control.send(json.dumps({"kill": number}).encode())

    def check_alive(self) -> None:
        """Raise ForkServerError where the server has ended, and its processes with it."""
        time.sleep(DYING_SECONDS)
        if self.server is None or self.server.poll() is not None:
            raise ForkServerError("the fork server has ended")

    def close(self) -> None:
        """End the server, and with it all processes of its own."""
        if self.server is not None:
            self.control.close()
            self.server.kill()
            self.server.wait()
            self.server = None


def check_kernel() -> None:
    """Raise UserError, with what to do, where the walls cannot be built on this machine."""
    elsewhere = "; or score by a server that runs them elsewhere (the reward `http`)"
    if sys.platform != "linux":
        raise UserError(
            f"the sandbox for programs needs Linux, and this is {sys.platform}: use a virtual"
            f" machine or WSL2{elsewhere}"
        )
    try:
        kernel.landlock_version()
    except OSError as error:
        raise UserError(
            f"the sandbox for programs needs Landlock: {kernel.why_no_landlock(error)}{elsewhere}"
        ) from None
    try:
        allowed_calls(os.getpid())
    except OSError as error:
        raise UserError(f"the sandbox for programs: {error.strerror}{elsewhere}") from None


def wait_ready(channel: Channel) -> None:
    """Until the other process is behind its walls. Raises ForkServerError where it is not."""
    try:
        said = channel.receive(time.monotonic() + START_SECONDS)
    except (EOFError, TimeoutError, OSError) as error:
        raise ForkServerError(f"a process was not made: {error}") from None
    if said != READY:
        raise ForkServerError(f"a process was not confined: {said['not confined']}")


def socket_pair(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """Two ends, which are closed with the stack."""
    one, other = socket.socketpair()
    return stack.enter_context(one), stack.enter_context(other)
