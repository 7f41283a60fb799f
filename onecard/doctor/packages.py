"""Python and its packages, against the lock that they should have come from."""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from onecard.doctor.finding import Finding

ROOT = Path(__file__).parents[2]
SHOWN = 5  # packages of a kind
ESSENTIAL = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "bitsandbytes",
    "unsloth",
    "unsloth_zoo",
    "datasets",
    "accelerate",
)


def check_python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding(
        "Python",
        (3, 11) <= sys.version_info[:2] <= (3, 13),
        found,
        "use Python 3.11, 3.12 or 3.13; the lock for a card, requirements.txt, is for 3.11",
    )


def check_packages(on_card: bool, with_vllm: bool) -> Iterator[Finding]:
    """The installed versions against the lock of this kind of installation."""
    lock = "requirements.txt" if on_card or is_installed("vllm") else "requirements-cpu.txt"
    needed = (*ESSENTIAL, "vllm") if with_vllm else ESSENTIAL
    missing = [name for name in needed if not is_installed(name)]
    hashes = "--require-hashes " if lock == "requirements.txt" else ""
    remedy = f"pip install --no-deps {hashes}-r {lock}"
    if missing:
        yield Finding("packages", False, f"missing: {', '.join(missing)}", remedy)
        return
    locked = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", read(ROOT / lock), flags=re.MULTILINE)
    if not locked:
        yield Finding(
            "packages",
            None,
            f"there is no {lock} here to hold them against",
            "run this in a checkout of Onecard",
        )
        return
    other, absent = [], []
    for name, wanted in locked:
        if not is_installed(name):
            absent.append(name)
        elif base(version(name)) != wanted:
            other.append(f"{name} {version(name)} ({wanted} in the lock)")
    if other or absent:
        told = other[:SHOWN]
        if len(other) > SHOWN:
            told.append(f"{len(other) - SHOWN} more")
        if absent:
            told.append(f"not installed: {', '.join(absent[:SHOWN])}")
        yield Finding("packages", None, f"not as in {lock}: {'; '.join(told)}", remedy)
    else:
        yield Finding("packages", True, f"all {len(locked)} as in {lock}")


def is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def base(found: str) -> str:
    """A version without its local part: 2.13.0+cpu is 2.13.0."""
    return found.partition("+")[0]


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
