"""Limits of time: for many small jobs on a few threads, and for one call on the main thread."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
THREADS = max(4, os.cpu_count() or 1)
# Not SIGALRM, which everybody takes: math-verify sets it, and clears whatever was set before.
SIGNALS = (signal.SIGUSR2, signal.SIGVTALRM)
EVERY_SECONDS = 1.0  # the signal comes again, for a function that swallows what it raises
LAST_SECONDS = 10.0  # after as long a time again and this, the process is ended


def in_parallel(jobs: Sequence[Callable[[], T]], seconds: float) -> list[T | Exception]:
    """Each job's value, or the exception that it ended in; jobs in order.

    A job without a value after `seconds` has a TimeoutError. The threads are daemons: a job that
    hangs costs one of them, and does not keep the process alive. The deadline cannot interrupt code
    that holds Python's lock all the while, such as one regular expression that runs away.
    """
    late: T | Exception = TimeoutError(f"no value within {seconds:g} s")
    values = [late] * len(jobs)
    deadline = time.monotonic() + seconds
    numbers = iter(range(len(jobs)))  # shared by the threads: next() of a range is atomic

    def work() -> None:
        for number in numbers:
            if time.monotonic() > deadline:
                return
            try:
                values[number] = jobs[number]()
            except Exception as error:
                values[number] = error
            except SystemExit:
                values[number] = RuntimeError("tried to end the process")

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(THREADS, len(jobs)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return list(values)


class OverdueError(BaseException):
    """Raised inside a call that takes too long. No Exception: `except Exception` lets it pass."""


class Watch:
    """When the call on the main thread that is timed has to be over; None: no call is."""

    deadline: float | None = None


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """A block that raises TimeoutError when it takes longer than `seconds`.

    On the main thread only; elsewhere there is no limit. Two clocks send a signal: a thread, which
    interrupts Python code, sleeping and waiting for a socket; and the system's timer of the
    process's own work, for a regular expression that holds Python's lock, so that no thread runs.
    What never comes back to Python cannot be interrupted: after twice the time and ten seconds the
    process is sent SIGTERM, on which a run keeps its last step. `what` is named then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in SIGNALS:
        signal.signal(number, raise_overdue)  # and stays: a late signal must not end the process
    over = threading.Event()
    Watch.deadline = time.monotonic() + seconds
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, EVERY_SECONDS)
    threading.Thread(target=interrupt, args=(seconds, what, over), daemon=True).start()
    try:
        yield
    except OverdueError:
        raise TimeoutError(f"no value within {seconds:g} s") from None
    finally:
        Watch.deadline = None
        over.set()
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)


def raise_overdue(*_: Any) -> None:
    # The timer counts the work of all threads, so it may be early. Two signals may come at once,
    # and the second must not raise where the first is being handled.
    if Watch.deadline is not None and time.monotonic() >= Watch.deadline:
        Watch.deadline = None
        raise OverdueError


def interrupt(seconds: float, what: str, over: threading.Event) -> None:
    """The thread: signals from the deadline on, and the process's end where they do not help."""
    main = threading.main_thread().ident
    assert main is not None
    end = time.monotonic() + 2 * seconds + LAST_SECONDS
    wait = seconds + 1e-3  # not before the deadline, when the signal would do nothing
    while not over.wait(wait):
        if time.monotonic() > end:
            print(f"\nerror: {what} cannot be interrupted; the run ends", file=sys.stderr)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        if wait == EVERY_SECONDS and not over.is_set():
            Watch.deadline = 0.0  # the function swallowed it
        signal.pthread_kill(main, signal.SIGUSR2)
        wait = EVERY_SECONDS
