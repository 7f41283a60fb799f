"""What Unsloth, vLLM, transformers and others print and warn of: to loading.log, not the screen."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from onecard.run.process import is_first

# Those whose warnings are about their own inner workings.
LIBRARIES = ("accelerate", "bitsandbytes", "datasets", "peft", "transformers", "trl", "unsloth")


@contextmanager
def redirect_output(folder: Path) -> Iterator[None]:
    """Send all that is printed inside to loading.log.

    Unsloth and vLLM print a hundred lines and bars while they load a model, and some in the first
    step. What they print in further processes of a run goes nowhere.
    """
    file = log_file(folder)
    with file.open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        yield


@contextmanager
def redirect_libraries(folder: Path) -> Iterator[None]:
    """Import the libraries inside: what they print then, and log ever after, is in loading.log."""
    with redirect_output(folder):
        yield
    handler = logging.FileHandler(log_file(folder), encoding="utf-8", delay=True)
    for name in LIBRARIES:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False


def log_file(folder: Path) -> Path:
    return folder / "loading.log" if is_first() else Path(os.devnull)
