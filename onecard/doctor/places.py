"""Where a run reads and writes: its folder, the model cache, shared memory, the hub."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from onecard.doctor.finding import Finding
from onecard.machine.gpu import GIB

DISK_NEEDED = 20 * GIB  # a 7B model, its cache and a few checkpoints
SHARED_NEEDED = GIB


def check_places() -> Iterator[Finding]:
    """Room and rights where a run writes: its folder, the model cache, shared memory."""
    cache = Path(os.environ.get("HF_HOME", Path.home() / ".cache/huggingface"))
    for about, place in (("runs", Path("runs").absolute()), ("model cache", cache)):
        there = next(parent for parent in (place, *place.parents) if parent.exists())
        free = shutil.disk_usage(there).free
        if not os.access(there, os.W_OK):
            yield Finding(
                about,
                False,
                f"{there} cannot be written by user {os.getuid()}",
                f"sudo chown -R {os.getuid()} {there}",
            )
        else:
            ok = True if free >= DISK_NEEDED else None
            yield Finding(
                about,
                ok,
                f"{place}, {free / GIB:.0f} GiB free",
                "" if ok else "a 7B model takes about 20 GiB with its cache",
            )
    shared = Path("/dev/shm")
    if shared.is_dir():
        total = shutil.disk_usage(shared).total
        ok = True if total >= SHARED_NEEDED else None
        yield Finding(
            "shared memory",
            ok,
            f"{total / GIB:.1f} GiB",
            "" if ok else "docker run --shm-size 2g ...",
        )


def check_token() -> Finding:
    """Whether there is a hub token; its value is never shown."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache/huggingface"))
    if os.environ.get("HF_TOKEN"):
        return Finding("hub token", True, "in HF_TOKEN")
    if (home / "token").is_file():
        return Finding("hub token", True, f"in {home / 'token'}")
    return Finding(
        "hub token", None, "none; only gated models, such as Llama, need one", "export HF_TOKEN=..."
    )
