"""Many small jobs on a few threads, until a deadline."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
THREADS = 4


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
