"""How much memory this process holds."""

from pathlib import Path

import torch

from onecard.machine.gpu import GIB

STATUS = Path("/proc/self/status")


def memory_gib() -> float | None:
    """What torch holds of the card; without one, what the process has taken of the machine's.

    In memory or swapped out; None where /proc does not say. It is not the resident set, which also
    counts mapped files: the system drops their pages and reads them back as it likes.
    """
    if torch.cuda.is_available():
        return torch.cuda.memory_reserved() / GIB
    if not STATUS.exists():
        return None
    kib = 0
    for line in STATUS.read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition(":")
        if name in ("RssAnon", "VmSwap"):
            kib += int(rest.split()[0])
    return kib * 1024 / GIB if kib else None
