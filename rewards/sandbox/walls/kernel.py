"""The system calls of Linux that Python has no functions for, by ctypes.

PyPI has a binding for Landlock (landlock 1.0.0.dev5, a development release) and one for seccomp
(pyseccomp 0.1.2, of 2021, which also wants the library libseccomp of the system). Debian has
libseccomp's own, python3-seccomp, which no virtual environment sees. What is needed of them is four
calls, so they are called here. bubblewrap is no way: it needs user namespaces, which
Docker's default profile refuses.
"""

import ctypes
import errno
import os
import struct

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
CAPSET = 126
CAPABILITIES_VERSION = 0x20080522
LANDLOCK_CREATE_RULESET = 444
LANDLOCK_RESTRICT_SELF = 446
LANDLOCK_VERSION_ASKED = 1

# How many rights over files each version of Landlock knows (include/uapi/linux/landlock.h).
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
# Version 4 binds and connects TCP sockets; version 6 keeps abstract sockets and signals inside.
NETWORK_SINCE, NETWORK_RIGHTS = 4, 0b11
SCOPES_SINCE, SCOPES = 6, 0b11

LIBC = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> int:
    """What a system call returned. Raises OSError where it failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def prctl(option: int, value: int, pointer: int = 0) -> None:
    arguments = (ctypes.c_ulong(value), ctypes.c_void_p(pointer), ctypes.c_ulong(0))
    checked(LIBC.prctl(option, *arguments, ctypes.c_ulong(0)))


def drop_capabilities() -> None:
    """Of this process: the effective, the permitted and the inheritable ones."""
    header = struct.pack("Ii", CAPABILITIES_VERSION, 0)
    checked(LIBC.syscall(CAPSET, header, bytes(24)))


def landlock_version() -> int:
    """Raises OSError where this kernel has no Landlock, or was started without it."""
    asked = ctypes.c_uint(LANDLOCK_VERSION_ASKED)
    return checked(LIBC.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), asked))


def forbid_all_files() -> None:
    """No file or folder can be opened, made or changed from here on, wherever it is.

    A set of rules that names all rights and allows none. Files that are open stay so.
    """
    version = landlock_version()
    rights = max(count for since, count in FILE_RIGHTS.items() if version >= since)
    parts = [(1 << rights) - 1]
    if version >= NETWORK_SINCE:
        parts.append(NETWORK_RIGHTS)
    if version >= SCOPES_SINCE:
        parts.append(SCOPES)
    rules = struct.pack(f"{len(parts)}Q", *parts)
    size, flags = ctypes.c_size_t(len(rules)), ctypes.c_uint(0)
    ruleset = checked(LIBC.syscall(LANDLOCK_CREATE_RULESET, rules, size, flags))
    try:
        checked(LIBC.syscall(LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), flags))
    finally:
        os.close(ruleset)


def filter_system_calls(program: bytes) -> None:
    """Judge every later system call of this process by a filter of seccomp.

    `program` is a list of BPF instructions of 8 bytes each. Wants no_new_privs.
    """
    instructions = ctypes.create_string_buffer(program, len(program))
    pointer = ctypes.addressof(instructions)
    head = struct.pack("HxxxxxxQ", len(program) // 8, pointer)
    whole = ctypes.create_string_buffer(head, len(head))
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(whole))


def why_no_landlock(error: OSError) -> str:
    """What a person can do about a kernel without Landlock."""
    if error.errno == errno.EOPNOTSUPP:
        return (
            "this kernel has Landlock, but was started without it: add `landlock` to the list"
            " `lsm=` of its start parameters"
        )
    if error.errno == errno.ENOSYS:
        return (
            "this kernel has no Landlock: it came with Linux 5.13, and some kernels leave it out"
            " (older WSL2: `wsl --update`)"
        )
    return (
        f"Landlock is refused here ({error.strerror}): in Docker, use version 23 or later, or a"
        " seccomp profile that allows landlock_create_ruleset"
    )
