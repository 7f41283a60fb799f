"""What a process that compares mathematics runs: one [answer, gold] in, one true or false out.

It is imported before the process is made, so that one that was killed is replaced in no time.
"""

import logging
from collections.abc import Callable

from math_verify import parse, verify

from rewards.sandbox.channel import READY, Channel


def equal(answer: str, gold: str) -> bool:
    """Whether math-verify takes the two for equal. The time limit is the asker's."""
    try:
        # Wrapped so that both parse as LaTeX.
        sides = [parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (gold, answer)]
        return bool(all(sides) and verify(*sides, timeout_seconds=None))
    except Exception:  # whatever sympy makes of what a model wrote, it is not the gold
        return False


def serve(number: int) -> Callable[[], None]:
    logging.disable()  # at each question it says that its own time limit is off

    def work() -> None:
        asker = Channel(number)
        asker.send(READY)
        while True:
            try:
                answer, gold = asker.receive()
            except EOFError:
                return
            asker.send(equal(answer, gold))

    return work
