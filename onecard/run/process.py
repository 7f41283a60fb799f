"""Which process of a run this is. torchrun and accelerate start several, each with its number.

What writes, prints or locks does so in the first process alone, and asks here.
"""

import os
import time
from pathlib import Path

LONGEST_WAIT_SECONDS = 600.0
LAUNCHER_SECONDS = 5.0  # torchrun hands a signal on that its processes have heard too; it waits 30


def rank() -> int:
    """The number of this process among those of its run, from 0; 0 where there is but one."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """How many a run has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    return rank() == 0


def wait_for(place: Path, seconds: float = LONGEST_WAIT_SECONDS) -> None:
    """Wait until the first process has made a file or a folder. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not place.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the first process did not make {place} within {seconds:g} s")
        time.sleep(0.1)
