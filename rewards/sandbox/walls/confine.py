"""All walls around a process, in their order. After `confine` it can compute, and no more.

| wall | what it holds |
|---|---|
| another user, as root | signals, ptrace and files of others, by the oldest rule of Unix |
| limits | the time on a processor, memory, threads, the size of files, the number of open ones |
| no_new_privs, no capabilities | a program that is root's by its file bits |
| Landlock | every file and folder: none can be opened, made or changed |
| seccomp | sockets, processes, signals, ptrace, io_uring, and each call not on its list |
"""

import contextlib
import math
import os
import pwd
import resource
import signal
from dataclasses import dataclass
from pathlib import Path

from rewards.sandbox.walls import kernel
from rewards.sandbox.walls.seccomp import allowed_calls

# Accounts of people begin at 1000, and those of systemd end below; 65534 is nobody's.
FIRST_UNUSED, LAST_UNUSED = 62_000, 65_533
STACK_BYTES = 16 << 20
OPEN_FILES = 64
THREADS = 64
LONGEST_SECONDS, MOST_MEMORY_MIB = 7 * 24 * 3600, 1 << 16
NICE = 10  # training comes first
OOM_FIRST = "1000"  # and where memory ends, it is one of these that goes


@dataclass(frozen=True)
class Limits:
    """What one process may take. `seconds` are on the clock, and on the processor too.

    Raises ValueError for what is no limit.
    """

    seconds: float = 4.0
    memory_mib: int = 512

    def __post_init__(self) -> None:
        if type(self.seconds) not in (int, float) or not 0 < self.seconds <= LONGEST_SECONDS:
            raise ValueError(f"seconds must be a number up to {LONGEST_SECONDS}")
        if type(self.memory_mib) is not int or not 64 <= self.memory_mib <= MOST_MEMORY_MIB:
            raise ValueError(f"memory_mib must be a whole number from 64 to {MOST_MEMORY_MIB}")


def unused_users() -> list[int]:
    """Users of no account, for processes of root's to become; none for any other process."""
    if os.geteuid() != 0:
        return []
    taken = {account.pw_uid for account in pwd.getpwall()}
    return [uid for uid in range(FIRST_UNUSED, LAST_UNUSED) if uid not in taken]


def tasks_of_user() -> int:
    """The processes and threads of this user, which the kernel's limit counts together."""
    count, me = 0, os.getuid()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if entry.stat().st_uid == me:
                count += len(os.listdir(f"/proc/{entry.name}/task"))
    return count


def confine(limits: Limits, user: int | None, tasks: int, parent: int) -> None:
    """Build the walls around this process. Raises OSError where one cannot be built.

    `user` is who root becomes; nobody else is that user at the time. Without one, `tasks` is how
    many processes and threads our own user had. The process ends with `parent`, its parent.
    """
    os.nice(NICE)
    with contextlib.suppress(OSError):  # a kindness, and no wall
        Path("/proc/self/oom_score_adj").write_text(OOM_FIRST)
    set_limits(limits, tasks + THREADS)
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


def set_limits(limits: Limits, tasks: int) -> None:
    """Soft and hard alike: at its end a process is killed, and is not asked."""
    values = {
        resource.RLIMIT_CPU: math.ceil(limits.seconds) + 1,
        resource.RLIMIT_AS: limits.memory_mib << 20,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: tasks,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_STACK: STACK_BYTES,
    }
    for name, value in values.items():
        hard = resource.getrlimit(name)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (value, value))
