"""Programs that try to reach what is outside of the sandbox.

One prints LEAK where it got through, or where anything but a wall stopped it. None does harm where
there is no wall: signal 0 is sent, and what is to be removed is not there.
"""

import os
import time
from dataclasses import dataclass

from rewards.sandbox.client import ForkServer
from rewards.sandbox.trial import Trial, try_program
from rewards.sandbox.walls.confine import Limits

LIMITS = Limits(seconds=1.0, memory_mib=512)
ENDED_WITHIN_SECONDS = 10.0  # after its limit, on a machine with other work

# What every attack begins with. `tried` runs one and prints how it ended.
BEGIN = """
import ctypes, errno, gc, os, re, resource, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def tried(what, attack):
    try:
        got = attack()
    except BaseException as error:
        walls = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOMEM)
        held = isinstance(error, MemoryError | RecursionError)
        held = held or getattr(error, "errno", None) in walls
        print("held" if held else "LEAK", what, repr(error), sep=": ")
    else:
        print("LEAK", what, got, sep=": ")
def call(number, *arguments):
    if libc.syscall(number, *map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "done"
TRAINER = {trainer}
"""


@dataclass(frozen=True)
class Escape:
    """A program that tries to reach what is outside. Held: it nowhere says LEAK, and it ended."""

    name: str
    code: str

    def run(self, sandbox: ForkServer) -> tuple[bool, str]:
        """Whether it was held, and by what."""
        code = BEGIN.format(trainer=os.getpid()) + self.code
        begun = time.monotonic()
        trial = try_program(sandbox, code, [("", "")], LIMITS)
        in_time = time.monotonic() - begun < LIMITS.seconds + ENDED_WITHIN_SECONDS
        return "LEAK" not in trial.printed and in_time, first_words(trial)


def first_words(trial: Trial) -> str:
    """How an attack ended: its own first words, or why it was ended."""
    lines = trial.printed.splitlines()
    return lines[0] if lines else trial.why or "ended by the kernel"


ESCAPES = (
    Escape(
        "fork bomb",
        """
def fork():
    if os.fork() == 0:
        os._exit(0)
    return "a process"
tried("fork", fork)
tried("vfork", lambda: call(58))
tried("clone3", lambda: call(435, 0, 0))
tried("clone in a new namespace", lambda: call(56, 0x10000000, 0, 0, 0, 0))
tried("a thread with files of its own", lambda: call(56, 0x10900, 0, 0, 0, 0))
""",
    ),
    Escape(
        "another program",
        """
tried("exec", lambda: os.execv("/bin/echo", ["echo", "LEAK"]))
tried("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
tried("subprocess", lambda: subprocess.run(["/bin/true"]))
""",
    ),
    Escape(
        "endless loop",
        """
while True:
    pass
""",
    ),
    Escape("sleep", "time.sleep(3600)"),
    Escape(
        "4 GB of memory",
        """
import mmap
tried("bytes", lambda: len(bytearray(4 << 30)))
tried("mmap", lambda: mmap.mmap(-1, 4 << 30))
tried("memory file", lambda: os.memfd_create("x"))
tried("shared memory", lambda: call(29, 0, 1 << 20, 0o1600))
""",
    ),
    Escape(
        "TCP, UDP and unix sockets",
        """
tried("TCP", lambda: socket.create_connection(("127.0.0.1", 80), 0.2))
tried("UDP", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
tried("unix", lambda: socket.socket(socket.AF_UNIX))
tried("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
tried("pair", lambda: socket.socketpair())
""",
    ),
    Escape(
        "reading files",
        """
for path in ("/etc/passwd", sys.executable, os.__file__, "/proc/self/maps", "/dev/null"):
    tried(path, lambda: open(path, "rb").read(1))
tried("list /", lambda: os.listdir("/"))
tried("list the library", lambda: os.listdir(os.path.dirname(os.__file__)))
""",
    ),
    Escape(
        "a token in the environment",
        """
known = {"LC_ALL", "LC_CTYPE", "PYTHONHASHSEED"}
for name in set(os.environ) - known:
    print("LEAK", name)
tried("own", lambda: open("/proc/self/environ").read())
tried("of the server", lambda: open(f"/proc/{os.getppid()}/environ").read())
tried("of the trainer", lambda: open(f"/proc/{TRAINER}/environ").read())
""",
    ),
    Escape(
        "the parent's /proc",
        """
for process in (os.getppid(), TRAINER):
    for name in ("mem", "maps", "cmdline", "fd", "root", "cwd"):
        tried(f"/proc/../{name}", lambda: os.open(f"/proc/{process}/{name}", os.O_RDONLY))
""",
    ),
    Escape(
        "kill and ptrace",
        """
for process in (os.getppid(), TRAINER):
    tried("kill", lambda: os.kill(process, 0))
    tried("tgkill", lambda: call(234, process, process, 0))
    tried("pidfd_open", lambda: call(434, process, 0))
    tried("ptrace", lambda: call(101, 0x4206, process, 0, 0))
    tried("process_vm_readv", lambda: call(310, process, 0, 0, 0, 0, 0))
    tried("limits", lambda: resource.prlimit(process, resource.RLIMIT_CPU))
    tried("affinity", lambda: os.sched_setaffinity(process, {0}))
    tried("priority", lambda: os.setpriority(os.PRIO_PROCESS, process, 19))
import fcntl
tried("signals of a file", lambda: fcntl.fcntl(1, fcntl.F_SETOWN, TRAINER))
""",
    ),
    Escape(
        "output flood",
        """
while True:
    os.write(1, b"x" * 65536)
""",
    ),
    Escape(
        "disk filling",
        """
for folder in ("/tmp", "/var/tmp", "/dev/shm", "/run", ".", "/home"):
    tried(folder, lambda: os.open(folder, os.O_TMPFILE | os.O_RDWR))  # nothing is left
tried("a file", lambda: open("/onecard/missing", "wb"))
""",
    ),
    Escape(
        "deep recursion",
        """
import json
sys.setrecursionlimit(10 ** 9)
def deeper(value):
    return [deeper(value)]
tried("brackets", lambda: json.loads("[" * 10 ** 7))
tried("functions", lambda: deeper(0))
""",
    ),
    Escape(
        "signal tampering",
        """
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
libc.prctl(1, 0)
while True:
    pass
""",
    ),
    Escape(
        "symlinks and names",
        """
missing, other = "/onecard/missing", "/onecard/other"
tried("symlink", lambda: os.symlink("/etc/passwd", missing))
tried("link", lambda: os.link(missing, other))
tried("rename", lambda: os.rename(missing, other))
tried("unlink", lambda: os.unlink(missing))
tried("mkdir", lambda: os.mkdir(missing))
tried("chmod", lambda: os.chmod(missing, 0o644))
tried("chown", lambda: os.chown(missing, 0, 0))
tried("truncate", lambda: os.truncate(missing, 0))
tried("times", lambda: os.utime(missing))
tried("chdir", lambda: os.chdir(missing))
""",
    ),
    Escape(
        "leaving a process behind",
        """
def daemon():
    if os.fork() == 0:
        os.setsid()
        time.sleep(30)
    return "a process"
tried("daemon", daemon)
threading.Thread(target=time.sleep, args=(30,)).start()
""",
    ),
    Escape(
        "a bomb of threads",
        """
threading.stack_size(1 << 15)
count = 0
try:
    while count < 2000:
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
        count += 1
except RuntimeError as error:
    print("held", count, error)
else:
    print("LEAK", count)
sys.stdout.flush()
os._exit(0)
""",
    ),
    Escape(
        "rarer doors of the kernel",
        """
names = {"io_uring_setup": 425, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323}
names |= {"keyctl": 250, "unshare": 272, "mount": 165, "setns": 308, "add_key": 248}
names |= {"fanotify_init": 300, "inotify_init": 253, "mq_open": 240, "semget": 64, "msgget": 68}
names |= {"setuid": 105, "capset": 126, "personality": 135, "seccomp": 317, "prctl": 157}
names |= {"of x32": 0x40000000 | 39, "of the future": 999}
for name, number in names.items():
    tried(name, lambda: call(number, 0, 0, 0))
""",
    ),
)
