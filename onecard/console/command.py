"""How a command ends: its exit code, and one sentence where something was wrong."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from onecard.files.disk_errors import disk_trouble
from onecard.types import RunFailed, UserError

RUNS = Path("runs")


def run_command(
    body: Callable[[], int | None],
    stopped: str | None = None,
    again: str = "type the same command again",
    process: int = 0,
) -> int:
    """The exit code of a command: what `body` returns, or 0.

    1 is for a run that failed or a full disk, 2 for bad input, 130 for Ctrl-C. `stopped` is said
    after Ctrl-C. `again`: what to do once the disk has room. `process`: which one of several this
    is; what is wrong with the input the first one tells alone. Any other exception is a fault of
    ours, and is shown with its traceback.
    """
    who = f"process {process}: " if process else ""
    try:
        return body() or 0
    except UserError as error:
        return say(None if process else f"error: {error}", 2)
    except RunFailed as error:
        return say(f"{who}error: {error}", 1)
    except KeyboardInterrupt:
        return say(stopped, 130)
    except Exception as error:
        trouble = disk_trouble(error, RUNS)
        if trouble is None:
            raise
        return say(f"{who}error: cannot write: {trouble}. Make room there, then {again}", 1)


def say(text: str | None, code: int) -> int:
    if text:
        print(text, file=sys.stderr)
    return code


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number from 1, got {text!r}")
    return int(text)
