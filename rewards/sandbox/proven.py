"""The one sandbox of a process, which has attacked itself before its first program."""

import atexit
import threading

from rewards.sandbox.attacks.every import check_sandbox
from rewards.sandbox.client import ForkServer

LOCK = threading.Lock()
OPENED: list[ForkServer] = []


def proven_sandbox() -> ForkServer:
    """Raises UserError where this machine cannot build the walls, or where they leak."""
    with LOCK:
        if not OPENED:
            sandbox = ForkServer()
            atexit.register(sandbox.close)
            check_sandbox(sandbox)
            OPENED.append(sandbox)
        return OPENED[0]
