"""The sandbox tries on itself what a program may try, before the first program is run."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from onecard.types import UserError
from rewards.sandbox.attacks.escapes import ESCAPES, Escape
from rewards.sandbox.attacks.forgeries import FORGERIES, Forgery
from rewards.sandbox.client import ForkServer, ForkServerError
from rewards.sandbox.trial import try_program
from rewards.sandbox.walls.confine import Limits

AT_ONCE = 4

# What must work inside, or the walls are too narrow.
WORKS = """
import collections, dataclasses, decimal, fractions, heapq, itertools, json, math, re, statistics
import threading
@dataclasses.dataclass
class Point:
    x: int
seen = []
thread = threading.Thread(target=seen.append, args=(Point(3).x,))
thread.start()
thread.join()
print(int(input()) + seen[0], math.isqrt(17), re.sub("a", "b", "aa"))
"""


def attack(sandbox: ForkServer) -> Iterator[tuple[str, bool, str]]:
    """Each attack's name, whether it was held, and by what. Four at a time."""
    attacks: Sequence[Escape | Forgery] = (*ESCAPES, *FORGERIES)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        outcomes = threads.map(lambda one: one.run(sandbox), attacks)
        for one, outcome in zip(attacks, outcomes, strict=True):
            yield one.name, *outcome


def check_sandbox(sandbox: ForkServer) -> None:
    """Raise UserError where an attack gets through, or where an honest program does not."""
    try:
        honest = try_program(sandbox, WORKS, [("4", "7 4 bb")], Limits())
    except ForkServerError as error:
        raise UserError(f"the sandbox for programs: {error}") from None
    if not all(honest.passed):
        raise UserError(f"the sandbox for programs: an honest one does not run: {honest.why}")
    if leaks := [f"{name} ({what})" for name, held, what in attack(sandbox) if not held]:
        raise UserError(
            f"the sandbox for programs does not hold on this machine: {'; '.join(leaks)}. No"
            " program is run. `python -m rewards.sandbox.attacks` shows all attacks"
        )
