"""All walls around a process, in their order. After `confine` it can compute, and no more.

| wall | what it holds |
|---|---|
| another user, as root | signals, ptrace and files of others, by the oldest rule of Unix |
| limits | the time on a processor, memory, the size of files, the number of open ones |
| no_new_privs, no capabilities | a program that is root's by its file bits |
| Landlock | every file and folder: none can be opened, made or changed |
| seccomp | sockets, processes, signals, ptrace, io_uring, and each call not on its list |
"""

import math
import os
import pwd
import resource
import signal
from dataclasses import dataclass

from rewards.sandbox.walls import kernel
from rewards.sandbox.walls.seccomp import allowed_calls

# Accounts of people begin at 1000, and those of systemd end below; 65534 is nobody's.
FIRST_UNUSED, LAST_UNUSED = 62_000, 65_533
STACK_BYTES = 64 << 20
OPEN_FILES = 64


@dataclass(frozen=True)
class Limits:
    """What one process may take. `seconds` are on the clock, and on the processor too."""

    seconds: float = 4.0
    memory_mib: int = 512


def unused_user() -> int | None:
    """A user of no account, for a process of root's to become; None for any other process."""
    if os.geteuid() != 0:
        return None
    taken = {account.pw_uid for account in pwd.getpwall()}
    return next(uid for uid in range(FIRST_UNUSED, LAST_UNUSED) if uid not in taken)


def confine(limits: Limits, user: int | None, parent: int) -> None:
    """Build the walls around this process. Raises OSError where one cannot be built.

    `user` is who root becomes. The process ends with `parent`, its parent.
    """
    set_limits(limits)
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    kernel.drop_capabilities()
    end_with(parent)  # not before: a change of user forgets it
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.forbid_all_files()
    kernel.filter_system_calls(allowed_calls(os.getpid()))


def end_with(parent: int) -> None:
    """Let this process be killed when its parent ends. Raises OSError where that has happened."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError("the fork server is gone")


def set_limits(limits: Limits) -> None:
    """Soft and hard alike: at its end a process is killed, and is not asked."""
    values = {
        resource.RLIMIT_CPU: math.ceil(limits.seconds) + 1,
        resource.RLIMIT_AS: limits.memory_mib << 20,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_STACK: STACK_BYTES,
    }
    for name, value in values.items():
        hard = resource.getrlimit(name)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (value, value))
