"""Golds that are no plain numbers (MATH): compared by math-verify in a process that can be killed.

math-verify may take minutes on a power tower, and its own time limit is the main thread's alarm
signal. So one worker process does the comparing; it is killed at the deadline and started anew for
the next question.
"""

import atexit
import json
import selectors
import subprocess
import sys
import threading
from pathlib import Path

DEADLINE_SECONDS = 3.0
START_SECONDS = 60.0  # importing sympy


class Worker:
    """The process, and the lock that lets one thread at a time ask it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    def ask(self, answer: str, gold: str) -> bool | None:
        """Whether math-verify takes the two for equal; None without a verdict before the
        deadline.
        """
        with self.lock:
            try:
                if self.process is None or self.process.poll() is not None:
                    self.start()
                assert self.process is not None
                assert self.process.stdin is not None
                self.process.stdin.write(json.dumps([answer, gold]).encode() + b"\n")
                self.process.stdin.flush()
                reply = self.read(DEADLINE_SECONDS)
            except (
                OSError
            ):  # the worker died, or cannot start: `python -m rewards.answer.symbolic` shows why
                reply = None
            if reply is None:
                self.stop()
            return None if reply is None else reply == "true"

    def start(self) -> None:
        command = [sys.executable, "-m", "rewards.answer.symbolic"]
        root = Path(__file__).parent.parent.parent
        self.process = subprocess.Popen(
            command,
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if self.read(START_SECONDS) != "ready":
            raise OSError("the math-verify worker did not start")

    def read(self, seconds: float) -> str | None:
        assert self.process is not None
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return None
        return self.process.stdout.readline().decode().strip() or None

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


WORKER = Worker()


def same_expression(answer: str, gold: str) -> bool | None:
    """Whether a declared answer and a symbolic gold are equal as mathematics.

    None when that could not be decided in time.
    """
    return WORKER.ask(answer.encode("utf-8", "replace").decode(), gold)


def serve() -> None:
    """The worker: one JSON [answer, gold] a line in, one JSON bool a line out."""
    from math_verify import parse, verify

    print("ready", flush=True)
    for line in sys.stdin:
        answer, gold = json.loads(line)
        try:
            # Wrapped so that both parse as LaTeX; the time limit is the parent's.
            sides = [parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (gold, answer)]
            equal = all(sides) and verify(*sides, timeout_seconds=None)
        except Exception:  # whatever sympy makes of what a model wrote, it is not the gold
            equal = False
        print(json.dumps(bool(equal)), flush=True)


if __name__ == "__main__":
    serve()
