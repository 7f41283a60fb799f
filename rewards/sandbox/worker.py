"""A process that answers one question after the other, and is killed where it takes too long."""

import queue
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from rewards.sandbox.channel import Channel
from rewards.sandbox.client import ForkServer, socket_pair, wait_ready
from rewards.sandbox.walls.confine import Limits

LIFE = Limits(seconds=24 * 3600.0, memory_mib=2048)  # of the process; a question has its own time


class Worker:
    """One process in a role, made at the first question, and anew after one that was killed."""

    def __init__(self, server: ForkServer, role: str) -> None:
        self.server, self.role = server, role
        self.open = ExitStack()
        self.channel: Channel | None = None

    def ask(self, message: Any, seconds: float) -> Any:
        """The answer.

        Raises TimeoutError where there is none in time, EOFError where the process dies of the
        question, ForkServerError where there is no process.
        """
        if self.channel is None:
            self.start()
        assert self.channel is not None
        try:
            self.channel.send(message)
            return self.channel.receive(time.monotonic() + seconds)
        except OSError as error:  # TimeoutError is one
            self.stop()
            if isinstance(error, TimeoutError):
                raise
            raise EOFError(str(error)) from None
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        with ExitStack() as stack:
            ours, theirs = socket_pair(stack)
            stack.enter_context(self.server.process(self.role, LIFE, theirs.fileno()))
            theirs.close()
            channel = Channel(ours.fileno())
            wait_ready(channel)
            self.open = stack.pop_all()
        self.channel = channel

    def stop(self) -> None:
        """Kill the process."""
        self.channel = None
        self.open.close()


class Workers:
    """Workers in one role, as many as are asked at once."""

    def __init__(self, server: ForkServer, role: str) -> None:
        self.server, self.role = server, role
        self.idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()

    @contextmanager
    def one(self) -> Iterator[Worker]:
        """A worker that nobody else has meanwhile."""
        try:
            worker = self.idle.get_nowait()
        except queue.Empty:
            worker = Worker(self.server, self.role)
        try:
            yield worker
        finally:
            self.idle.put(worker)
