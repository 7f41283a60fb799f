"""Signals, in a process of their own and without torch: heard at once, twice, and not where they
are a child's.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent
IMPORTS = """
import multiprocessing, os, signal, subprocess, sys, time
from onecard.console.display import Display
from onecard.run.lock import lock_folder
from onecard.console.stopping import Stopping
"""
# These tests may themselves run under nohup, whose children ignore SIGHUP.
START = IMPORTS + "signal.signal(signal.SIGHUP, signal.SIG_DFL); stopping = Stopping(Display())\n"


def start(code: str, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", START + code, *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    assert any(line.startswith("ready") for line in process.stdout)
    return process


def end_of(process: "subprocess.Popen[str]") -> str:
    """What else it prints until it ends; it does not outlive the test."""
    try:
        return process.communicate(timeout=20)[0]
    finally:
        process.kill()


WORK = """
def finish():
    print("finishing", flush=True)
    time.sleep({seconds})
    return "step 7 is kept"
stopping.finish = finish
child = subprocess.Popen(["sleep", "300"])
print("ready", child.pid, flush=True)
while True:
    sum(range(10**7))  # a computation, not a wait
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_is_done_is_kept_and_told_and_nothing_is_left(number: signal.Signals) -> None:
    process = start(WORK.format(seconds=0.1))
    process.send_signal(number)
    told = end_of(process)  # it ends when the child, which holds the pipe too, has ended
    assert process.returncode == 128 + number
    assert f"{number.name}: step 7 is kept" in told


def test_what_a_launcher_hands_on_is_no_second_signal() -> None:
    process = start("stopping.patience = 3\n" + WORK.format(seconds=1))
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert any(line.startswith("finishing") for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    assert "SIGINT: step 7 is kept" in end_of(process)
    assert process.returncode == 128 + signal.SIGINT
    assert time.monotonic() - started > 1.5  # it stays for the others


@pytest.mark.fault("a second signal while the first is being heeded", "the process ends at once")
def test_a_second_signal_ends_it_at_once() -> None:
    process = start(WORK.format(seconds=60))
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert any(line.startswith("finishing") for line in process.stdout)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    end_of(process)
    assert time.monotonic() - started < 30  # it would sleep for 60
    assert process.returncode == 130


@pytest.mark.fault(
    "a child that a reward forks, and ends with SIGTERM",
    "it ends, the run goes on, and no child holds the run's lock",
)
def test_a_signal_to_a_forked_child_is_the_child_s_alone(tmp_path: Path) -> None:
    code = """
lock = lock_folder(__import__("pathlib").Path(sys.argv[1]))
fork = multiprocessing.get_context("fork")
child = fork.Process(target=time.sleep, args=(60,))
child.start(); child.terminate(); child.join(10)
print("child", child.exitcode, flush=True)
orphan = fork.Process(target=time.sleep, args=(60,)); orphan.start()
print("ready", orphan.pid, flush=True)
time.sleep(1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", START + code, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.wait(timeout=20)
        assert (
            process.returncode == -signal.SIGKILL
        )  # by its own hand: the child's signal was not heard here
        assert lines[0] == f"child {-signal.SIGTERM}\n"
        orphan = int(lines[1].split()[1])
        try:
            from onecard.run.lock import lock_folder

            lock_folder(tmp_path).close()
        finally:
            os.kill(orphan, signal.SIGKILL)


def test_nohup_is_heeded() -> None:
    code = (
        "stopping = Stopping(Display()); os.kill(os.getpid(), signal.SIGHUP); time.sleep(1);"
        " print('still here', flush=True)"
    )
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c", IMPORTS + code]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "still here" in done.stdout
