"""Golds that are no plain numbers (MATH): compared by math-verify in processes that can be killed.

math-verify may take minutes on a power tower, and its own time limit is the main thread's alarm
signal. So processes of their own do the comparing, several at once.

They are not confined. sympy imports parts of itself as it needs them, and behind walls it could
not; math-verify takes that for "not equal". With all of sympy imported before, a process holds
380 MB and takes 6 s to start.
"""

import atexit
from functools import cache

from rewards.sandbox.client import ForkServer, ForkServerError
from rewards.sandbox.worker import Workers

DEADLINE_SECONDS = 3.0
MODULE = "rewards.answer.math_worker"


@cache
def workers() -> Workers:
    server = ForkServer([MODULE], confined=False)
    atexit.register(server.close)
    return Workers(server, f"{MODULE}:serve")


def same_expression(answer: str, gold: str) -> bool | None:
    """Whether a declared answer and a symbolic gold are equal as mathematics.

    None when that could not be decided in time.
    """
    question = [answer.encode("utf-8", "replace").decode(), gold]
    with workers().one() as worker:
        try:
            return bool(worker.ask(question, DEADLINE_SECONDS))
        except (TimeoutError, EOFError, ForkServerError):
            # `python -c "import rewards.answer.math_worker"` shows why one cannot start.
            return None
