"""Code on trial: what of its tests it passes."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO

from rewards.sandbox.channel import Channel
from rewards.sandbox.client import ForkServer, socket_pair, wait_ready
from rewards.sandbox.walls.confine import Limits

CANDIDATE, PROGRAM = "rewards.sandbox.inside:candidate", "rewards.sandbox.inside:program"
CHECKER = "rewards.sandbox.checker:checker"
MOST_OUTPUT = 1 << 20  # bytes
IN_TIME = "not finished in {:g} s"


@dataclass
class Trial:
    """Whether each test passed, in order, and why the first of them that did not.

    `printed` is what a whole program printed last.
    """

    tests: int
    passed: list[bool] = field(default_factory=list)
    why: str = ""
    printed: str = ""

    def add(self, passed: bool, why: str = "") -> None:
        self.passed.append(passed)
        self.why = self.why or why

    def end(self, why: str) -> "Trial":
        """None of the tests that are left passed."""
        if len(self.passed) < self.tests:
            self.why = self.why or why
            self.passed += [False] * (self.tests - len(self.passed))
        return self

    @property
    def share(self) -> float:
        return sum(self.passed) / self.tests


def try_functions(
    sandbox: ForkServer,
    code: str,
    setup: str,
    tests: Sequence[str],
    names: Sequence[str],
    limits: Limits,
) -> Trial:
    """Code that defines functions, and tests that are Python statements. All share one time limit.

    `names` are what the code has to define. Raises ForkServerError where the code was not run.
    """
    trial = Trial(len(tests))
    with ExitStack() as stack:
        ours, checkers = socket_pair(stack)
        one, other = socket_pair(stack)
        stack.enter_context(sandbox.process(CANDIDATE, limits, other.fileno()))
        ends = checkers.fileno(), one.fileno()
        stack.enter_context(sandbox.process(CHECKER, limits, *ends))
        for given_away in (checkers, one, other):
            given_away.close()
        channel = Channel(ours.fileno())
        wait_ready(channel)
        job = {"code": code, "setup": setup, "tests": list(tests), "names": list(names)}
        channel.send(job)
        wait_ready(channel)
        deadline = time.monotonic() + limits.seconds
        try:
            while len(trial.passed) < trial.tests:
                said = channel.receive(deadline)
                if "code failed" in said:
                    return trial.end(said["code failed"])
                trial.add("passed" in said, said.get("failed", ""))
        except TimeoutError:
            return trial.end(IN_TIME.format(limits.seconds))
        except (EOFError, OSError):
            sandbox.check_alive()  # else it is not the code's doing
            return trial.end("the process of the tests ended before them")
    return trial


def try_program(
    sandbox: ForkServer, code: str, pairs: Sequence[tuple[str, str]], limits: Limits
) -> Trial:
    """A whole program, and pairs of what it reads and must print. All share one time limit.

    Raises ForkServerError where the program was not run.
    """
    trial = Trial(len(pairs))
    deadline = None
    for stdin, wanted in pairs:
        with ExitStack() as stack:
            ours, theirs = socket_pair(stack)
            file = stack.enter_context(text_file(stdin))
            process = sandbox.process(PROGRAM, limits, theirs.fileno(), file.fileno())
            stack.enter_context(process)
            theirs.close()
            channel = Channel(ours.fileno())
            wait_ready(channel)
            deadline = deadline or time.monotonic() + limits.seconds
            try:
                channel.send({"code": code})
                trial.printed = read_all(channel, deadline)
            except TimeoutError:
                return trial.end(IN_TIME.format(limits.seconds))
            except (ValueError, OSError) as error:
                trial.add(False, str(error))
                continue
        right = lines_of(trial.printed) == lines_of(wanted)
        if not right:
            sandbox.check_alive()
        shown = f"printed {trial.printed[:100]!r}, wanted {wanted[:100]!r}"
        trial.add(right, "" if right else shown)
    return trial


def text_file(text: str) -> BinaryIO:
    """A file in memory that holds a text, to be read from its start."""
    file = os.fdopen(os.memfd_create("stdin"), "w+b", buffering=0)
    file.write(text.encode("utf-8", "replace"))
    file.seek(0)
    return file


def read_all(channel: Channel, deadline: float) -> str:
    """What a program prints until it ends. Raises TimeoutError; ValueError for a flood."""
    output = bytes(channel.unread)
    while more := channel.read(deadline):
        output += more
        if len(output) > MOST_OUTPUT:
            raise ValueError(f"it printed more than {MOST_OUTPUT} bytes")
    return output.decode("utf-8", "replace")


def lines_of(text: str) -> list[str]:
    """The lines of an output, without the white space at their ends and after the last."""
    return [line.rstrip() for line in text.rstrip().splitlines()]
