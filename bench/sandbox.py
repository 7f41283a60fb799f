"""What the sandbox holds, and how many programs a second it runs: make sandbox

Writes docs/sandbox.md. Run as root it tries every attack as root and as user 1000; as another user,
as that one alone. For user 1000 it takes the system's python3, which every user can run.
"""

import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from onecard.files.atomic import write_atomic
from rewards.answer.kinds.code import AT_ONCE
from rewards.sandbox.attacks.forgeries import FORGERIES
from rewards.sandbox.client import ForkServer
from rewards.sandbox.trial import try_functions, try_program
from rewards.sandbox.walls.confine import Limits
from rewards.sandbox.walls.kernel import landlock_version

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/sandbox.md"
OF_ALL = Path("/usr/bin/python3")
USER = 1000
PROGRAMS = 200
LIMITS = Limits()
CODE = "def add(a, b):\n    return a + b"
TESTS = ["assert add(1, 2) == 3", "assert add(2, 2) == 4", "assert add(0, 0) == 0"]

Outcomes = dict[str, tuple[str, str]]  # an attack's name: held or LEAK, and by what


def attacks(python: str, user: int | None) -> Outcomes:
    """Every attack, as a user; None: as whoever runs this."""
    who: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    told = subprocess.run(
        [python, "-B", "-m", "rewards.sandbox.attacks"],
        cwd=ROOT,
        env={},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        **who,
    )
    rows = [line.split("\t") for line in told.stdout.splitlines()]
    return {name: (outcome, what) for outcome, name, what in rows}


def attack_table() -> list[str]:
    mine = "as root" if os.geteuid() == 0 else f"as user {os.geteuid()}"
    users: dict[str, tuple[str, int | None]] = {mine: (sys.executable, None)}
    if os.geteuid() == 0 and OF_ALL.exists():
        users[f"as user {USER}"] = (str(OF_ALL), USER)
    found = {name: attacks(*how) for name, how in users.items()}
    forged = {forgery.name for forgery in FORGERIES}
    lines = [f"| attack | {' | '.join(found)} | what it met |", "|---" * (len(found) + 2) + "|"]
    first = next(iter(found.values()))
    for name, (_, what) in first.items():
        outcomes = " | ".join(one[name][0] for one in found.values())
        told = f"not paid: {what}" if name in forged else what.removeprefix("held: ")
        lines.append(f"| {name} | {outcomes} | {told.replace('|', '/')} |")
    return lines


def per_second(server: ForkServer, threads: int) -> tuple[float, float]:
    """Functions with three tests, and whole programs, a second."""

    def functions(_: int) -> None:
        assert try_functions(server, CODE, "", TESTS, ["add"], LIMITS).share == 1

    def program(_: int) -> None:
        assert try_program(server, "print(int(input()) + 1)", [("1", "2")], LIMITS).share == 1

    rates = []
    for work in (functions, program):
        begun = time.monotonic()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(PROGRAMS)))
        rates.append(PROGRAMS / (time.monotonic() - begun))
    return rates[0], rates[1]


def rate_table() -> list[str]:
    server = ForkServer()
    try:
        per_second(server, 1)  # the server is up
        lines = ["| at once | functions with three tests, a second | whole programs, a second |"]
        lines.append("|---|---|---|")
        for threads in (1, AT_ONCE):
            functions, programs = per_second(server, threads)
            lines.append(f"| {threads} | {functions:.0f} | {programs:.0f} |")
    finally:
        server.close()
    return lines


TEXT = """# The sandbox

A model that is paid for code that passes tests writes code that nobody has read. `answer.kind:
code` runs it, and the reward `code_tests` pays for it. Each program has processes of its own,
behind walls that the kernel keeps:

| wall | what it holds |
|---|---|
| a fork server | the process never held torch, a token, a data set or a test: nothing to be read |
| another user, where Onecard runs as root | signals and files of others |
| limits | 4 seconds, 512 MiB, 64 threads, no file, 64 open sockets and pipes |
| no new privileges, no capabilities | a program that is root's by its file bits |
| Landlock | every file and folder: none can be opened, made or changed |
| seccomp, a list of what is allowed | sockets, processes, signals, ptrace, io_uring, and all else |

The code and its tests are in two processes. The one with the code answers calls with plain values:
numbers, texts, lists, dates. The one with the tests compares. So nothing of the code's can patch a
comparison, read a test or end the judge. The code defines the names that the row wants of it, and
no other. What stays possible is what plain Python allows too: code that changes the list it was
given, and an object of its own with a method that always says yes, where a test calls that method.
A whole program that has printed what it must is right, however it ends after that.

No container, no daemon and no root is needed. It works inside an unprivileged container too: runc,
user 1000 without capabilities, the seccomp profile that Podman has by default (LOG.md). It
needs Linux on x86-64 with Landlock: Linux 5.13 or later, Docker 23 or later. Before the first
program of a run the sandbox tries every attack below on itself, and training is refused where one
gets through. There is no way to run programs without the walls.

Inside there is Python's standard library, and no other package. `asyncio.run`, `tempfile`,
`multiprocessing` and `zoneinfo` do not work, since they want a socket, a file or a process. A
program can learn whether a path exists, but not what is in it. It can use one core for its time.

`python -m rewards.sandbox.attacks` tries the attacks on your machine.

## Attacks

Made by `make sandbox` on {machine}, Landlock version {landlock}. "Held" means: it reached nothing,
and it ended within its time. `tests/test_sandbox.py` tries the same attacks without walls, where
they get through.

{attacks}

## Speed

{programs} of each, on {cores} CPU cores. A program that hangs costs its own time limit, and no
other's.

{rates}
"""


def main() -> None:
    text = TEXT.format(
        machine=f"Linux {platform.release().split('-')[0]}",
        landlock=landlock_version(),
        attacks="\n".join(attack_table()),
        programs=PROGRAMS,
        cores=len(os.sched_getaffinity(0)),
        rates="\n".join(rate_table()),
    )
    write_atomic(PAGE, text)
    print(text)


if __name__ == "__main__":
    main()
