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
from contextlib import contextmanager, suppress
from pathlib import Path

from onecard.types import UserError
from rewards.sandbox.channel import Channel
from rewards.sandbox.inside import CONFINED
from rewards.sandbox.walls import kernel
from rewards.sandbox.walls.confine import Limits
from rewards.sandbox.walls.seccomp import allowed_calls

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 30.0
# The standard library and this project's own files: no package that is installed beside them.
SERVER = (
    "import sys; sys.path.insert(0, sys.argv[1]); from rewards.sandbox.server import main; main()"
)
# Sets of texts have one order, whenever a program runs.
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}


class SandboxError(Exception):
    """A process was not made, or not confined. Nothing was run in it."""


class Sandbox:
    """The fork server. Its methods may be called from several threads."""

    def __init__(self) -> None:
        """Raises UserError, with what to do, where the walls cannot be built here."""
        check_kernel()
        self.lock = threading.Lock()
        self.numbers = itertools.count()
        self.server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Raises SandboxError where the server does not start."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-s", "-S", "-c", SERVER]
        with theirs:
            self.server = subprocess.Popen(
                [*command, str(ROOT), str(theirs.fileno())],
                cwd="/",
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        ours.settimeout(START_SECONDS)
        self.control = ours
        if ours.recv(16) != b"ready":
            self.close()
            raise SandboxError("the fork server ends as it starts")

    @contextmanager
    def process(self, role: str, limits: Limits, *ends: int) -> Iterator[None]:
        """A confined process that has these sockets, ended with the block.

        Raises SandboxError where the server cannot be asked.
        """
        number = next(self.numbers)
        wanted = {"fork": role, "id": number}
        limited = {"seconds": limits.seconds, "memory_mib": limits.memory_mib}
        self.ask(wanted | limited, ends)
        try:
            yield
        finally:
            with suppress(SandboxError):
                self.ask({"kill": number})

    def ask(self, request: dict[str, object], ends: Sequence[int] = ()) -> None:
        with self.lock:
            try:
                if self.server is None or self.server.poll() is not None:
                    self.start()
                socket.send_fds(self.control, [json.dumps(request).encode()], list(ends))
            except OSError as error:
                raise SandboxError(f"the fork server cannot be asked: {error}") from None

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


def wait_confined(channel: Channel) -> None:
    """Until the other process is behind its walls. Raises SandboxError where it is not."""
    try:
        said = channel.receive(time.monotonic() + START_SECONDS)
    except (EOFError, TimeoutError, OSError) as error:
        raise SandboxError(f"a process was not made: {error}") from None
    if said != CONFINED:
        raise SandboxError(f"a process was not confined: {said['not confined']}")
