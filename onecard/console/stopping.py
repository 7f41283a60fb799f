"""On SIGTERM, SIGINT or SIGHUP: save within seconds, then exit with 128 + the signal's number.

Python runs signal handlers in the main thread, between two of its own instructions: not while that
thread is inside a long call of torch or vLLM. So the handlers do nothing, and a thread of its own
reads the numbers of the signals from a socket that Python's C code writes them to at once. Only
code that holds Python's lock all the while can keep that thread waiting, such as one regular
expression that runs away in a reward of the user's own.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from onecard.console.display import Display

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# In a process of its own: listing processes is hundreds of short reads, and after each of them a
# thread here would wait for Python's lock, 23 s in all beside a main thread that gives it up every
# 0.3 s.
END_CHILDREN = """
import os, psutil, sys
for child in psutil.Process(int(sys.argv[1])).children(recursive=True):
    if child.pid != os.getpid():
        try:
            child.kill()
        except psutil.NoSuchProcess:
            pass
"""


class Stopping:
    """Hears the signals from its making on.

    `finish`: what to do first, and what to tell. It is replaced when there is something to keep.
    `patience` is for several processes that one launcher started: for so many seconds a second
    signal is the first one, handed on by the launcher; and so long each process stays, since the
    others would fail without it before they have kept what there is.
    """

    def __init__(self, display: Display, patience: float = 0.0) -> None:
        self.display, self.patience = display, patience
        self.heard_at = 0.0
        self.finish: Callable[[], str] = lambda: "nothing was trained yet"
        self.heard: set[int] = set()
        self.reader, writer = socket.socketpair()
        writer.setblocking(False)
        self.before = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            if number != signal.SIGHUP or self.before[number] != signal.SIG_IGN:  # nohup means it
                signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
        self.masks = threading.local()
        os.register_at_fork(
            before=self.hold_back, after_in_parent=self.go_on, after_in_child=self.leave_alone
        )
        threading.Thread(target=self.listen, name="signals", daemon=True).start()

    def hold_back(self) -> None:
        """A forked child shares the socket: until it has let go of that, signals wait."""
        self.masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def go_on(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self.masks.before)

    def leave_alone(self) -> None:
        """In the child: what it is sent is no matter of the run's."""
        signal.set_wakeup_fd(-1)
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.go_on()

    def listen(self) -> None:
        while True:
            for number in self.reader.recv(16):
                if number not in SIGNALS:
                    continue
                if self.heard:
                    if time.monotonic() - self.heard_at >= self.patience:
                        self.end(number)  # the second: at once
                    continue
                self.heard.add(number)
                self.heard_at = time.monotonic()
                threading.Thread(
                    target=self.stop, args=(number,), name="stopping", daemon=True
                ).start()

    def stop(self, number: int) -> None:
        try:
            self.display.say(f"\n{signal.Signals(number).name}: {self.finish()}")
        except BaseException as error:  # told, and then the process ends all the same
            print(
                f"error: what was done could not be kept: {type(error).__name__}: {error}",
                file=sys.stderr,
            )
        time.sleep(max(0.0, self.heard_at + self.patience - time.monotonic()))
        self.end(number)

    def end(self, number: int) -> None:
        """End the process and those that it started."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                [sys.executable, "-c", END_CHILDREN, str(os.getpid())], timeout=5, check=False
            )
        with contextlib.suppress(OSError, ValueError):  # a pipe that nobody reads
            self.display.console.show_cursor(True)
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(128 + number)
