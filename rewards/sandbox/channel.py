"""Messages between two processes: JSON, a line each."""

import json
import os
import select
import time
from typing import Any

LONGEST_MESSAGE = 64 << 20  # bytes
# The first message of a process, or why it is not confined. It is sent before any code is there,
# so that no code can say so.
READY = {"ready": True}
READ_AT_ONCE = 1 << 16


class Channel:
    """One end of a socket or pipe, by its number. Nothing but read, write and select is needed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.unread = bytearray()

    def send(self, message: Any) -> None:
        """Raises OSError where the other end is closed, ValueError for what JSON has not."""
        line = json.dumps(message).encode() + b"\n"
        while line:
            line = line[os.write(self.number, line) :]

    def receive(self, deadline: float | None = None) -> Any:
        """The next message.

        `deadline` is one of time.monotonic(). Raises TimeoutError after it, EOFError where the
        other end is closed, ValueError where it sends no JSON, or too much.
        """
        looked_at = 0
        while (end := self.unread.find(b"\n", looked_at)) < 0:
            looked_at = len(self.unread)
            if looked_at > LONGEST_MESSAGE:
                raise ValueError(f"a message of more than {LONGEST_MESSAGE} bytes")
            more = self.read(deadline)
            if not more:
                raise EOFError("the other process has ended")
            self.unread += more
        line = bytes(self.unread[:end])
        del self.unread[: end + 1]
        try:
            return json.loads(line)
        except RecursionError:
            raise ValueError("a message of too many brackets") from None

    def read(self, deadline: float | None = None) -> bytes:
        """What there is to read; nothing where the other end is closed. Raises TimeoutError."""
        if deadline is not None:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self.number], [], [], left)[0]:
                raise TimeoutError("no answer in time")
        try:
            return os.read(self.number, READ_AT_ONCE)
        except ConnectionResetError:  # it ended before it had read all
            return b""
