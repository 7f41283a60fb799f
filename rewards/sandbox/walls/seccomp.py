"""Which system calls a confined process may make. What is not listed is refused.

A list of what is allowed, not of what is forbidden: a call that a later kernel brings is refused
too. The numbers are those of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl).
"""

import errno
import os
import platform
import struct
from collections.abc import Sequence

# Computing, memory, the pipes that are open, time, threads, signals to itself.
ALLOWED = {
    "read": 0,
    "write": 1,
    "close": 3,
    "stat": 4,
    "fstat": 5,
    "lstat": 6,
    "poll": 7,
    "lseek": 8,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "pread64": 17,
    "readv": 19,
    "writev": 20,
    "access": 21,
    "pipe": 22,
    "select": 23,
    "sched_yield": 24,
    "mremap": 25,
    "madvise": 28,
    "dup": 32,
    "dup2": 33,
    "pause": 34,
    "nanosleep": 35,
    "getitimer": 36,
    "alarm": 37,
    "setitimer": 38,
    "getpid": 39,
    "exit": 60,
    "uname": 63,
    "getdents": 78,
    "getcwd": 79,
    "gettimeofday": 96,
    "getrlimit": 97,
    "getrusage": 98,
    "sysinfo": 99,
    "times": 100,
    "getuid": 102,
    "getgid": 104,
    "geteuid": 107,
    "getegid": 108,
    "getppid": 110,
    "sigaltstack": 131,
    "gettid": 186,
    "time": 201,
    "futex": 202,
    "sched_getaffinity": 204,
    "getdents64": 217,
    "restart_syscall": 219,
    "clock_gettime": 228,
    "clock_getres": 229,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "newfstatat": 262,
    "pselect6": 270,
    "ppoll": 271,
    "set_robust_list": 273,
    "dup3": 292,
    "pipe2": 293,
    "getrandom": 318,
    "membarrier": 324,
    "statx": 332,
    "rseq": 334,
}
OPEN, OPENAT = 2, 257
IOCTL, CLONE, FCNTL, TGKILL, PRLIMIT = 16, 56, 72, 234, 302
# The C library tries these first, and an older call where there is no such one.
AS_IF_UNKNOWN = {"clone3": 435, "openat2": 437, "faccessat2": 439}

X86_64 = 0xC000003E  # AUDIT_ARCH_X86_64
X32 = 0x40000000  # set in the numbers of the x32 calling convention
# What the C library starts a thread with, glibc and musl. A new process has other flags, and so has
# a thread with a table of open files of its own.
THREAD_FLAGS = (0x003D0F00, 0x007D0F00)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_TMPFILE
TERMINAL_AND_CLOEXEC = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS FIONREAD FIONBIO FIO*CLEX
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC. F_SETOWN would send signals.
FCNTL_COMMANDS = (0, 1, 2, 3, 4, 1030)

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data
ALLOW = 0x7FFF0000
KILL = 0x80000000
REFUSE = 0x00050000


def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def returns(action: int) -> bytes:
    return instruction(RETURN, action)


def refused(error: int) -> bytes:
    return returns(REFUSE | error)


def when(number: int, then: Sequence[bytes]) -> list[bytes]:
    """`then`, which must return, where the call has this number."""
    return [instruction(JUMP_EQUAL, number, 0, len(then)), *then]


def load_argument(index: int) -> bytes:
    """The lower 32 bits of an argument; the kernel reads no more of those that are judged here."""
    return instruction(LOAD, ARGUMENTS_AT + 8 * index)


def argument_in(number: int, index: int, values: Sequence[int]) -> list[bytes]:
    """Allow a call where an argument is one of some values."""
    tests = []
    for value in values:
        tests += [instruction(JUMP_EQUAL, value, 0, 1), returns(ALLOW)]
    return when(number, [load_argument(index), *tests, refused(errno.EPERM)])


def without_bits(number: int, index: int, mask: int) -> list[bytes]:
    """Allow a call where an argument has none of the mask's bits."""
    test = instruction(JUMP_ANY_BIT, mask, 0, 1)
    return when(number, [load_argument(index), test, refused(errno.EPERM), returns(ALLOW)])


def allowed_calls(pid: int) -> bytes:
    """The filter of a process. Raises OSError on another processor than x86-64."""
    if platform.machine() != "x86_64":
        raise OSError(errno.ENOSYS, f"the list of system calls is for x86-64, not {os.uname()[4]}")
    program = [
        instruction(LOAD, ARCHITECTURE_AT),
        instruction(JUMP_EQUAL, X86_64, 1, 0),
        returns(KILL),
        instruction(LOAD, NUMBER_AT),
        instruction(JUMP_AT_LEAST, X32, 0, 1),
        refused(errno.EPERM),
    ]
    for number in ALLOWED.values():
        program += when(number, [returns(ALLOW)])
    for number in AS_IF_UNKNOWN.values():
        program += when(number, [refused(errno.ENOSYS)])
    program += without_bits(OPEN, 1, WRITING & ~os.O_DIRECTORY)
    program += without_bits(OPENAT, 2, WRITING & ~os.O_DIRECTORY)
    program += argument_in(CLONE, 0, THREAD_FLAGS)
    program += argument_in(IOCTL, 1, TERMINAL_AND_CLOEXEC)
    program += argument_in(FCNTL, 1, FCNTL_COMMANDS)
    program += argument_in(TGKILL, 0, [pid])
    program += argument_in(PRLIMIT, 0, [0, pid])
    program.append(refused(errno.EPERM))
    return b"".join(program)
