"""What a busy core beside it costs a run: python -m bench.beside

Steps of the tiny recipe on this machine's CPU, alone and beside one busy process; with OpenMP's
threads spinning while they wait for each other, as long as libgomp has it by default and as
onecard/__init__.py has it, and with them asleep. Prints seconds a step and ratios, and writes
docs/beside.md. About 15 minutes; nothing else should be busy meanwhile.
"""

import os
import subprocess
import sys
from pathlib import Path

from bench.steps import measure
from onecard.files.atomic import write_atomic
from onecard.machine.packages import versions

ROOT = Path(__file__).parent.parent
# libgomp's own number of turns before a waiting thread sleeps, where OMP_WAIT_POLICY is not set.
POLICIES: dict[str, dict[str, str]] = {
    "spin 300,000 turns (libgomp)": {"GOMP_SPINCOUNT": "300000"},
    "spin 3,000 turns (Onecard)": {},
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
}


def seconds_per_step(environment: dict[str, str], busy: bool) -> float:
    """The median GRPO step of a short run, in seconds."""
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        return measure(ROOT, environment).step
    finally:
        if neighbour:
            neighbour.kill()
            neighbour.wait()


def main() -> None:
    found = {}
    for name, environment in POLICIES.items():
        for where, busy in (("alone", False), ("beside one busy core", True)):
            found[name, where] = seconds_per_step(environment, busy)
            print(f"{name}, {where}: {found[name, where]:.2f} s a step", flush=True)
    rows = []
    for name in POLICIES:
        alone, beside = found[name, "alone"], found[name, "beside one busy core"]
        rows.append(f"| {name} | {alone:.2f} | {beside:.2f} | {beside / alone:.1f} |")
    used = ", ".join(f"{name} {version}" for name, version in versions("torch").items())
    text = "\n".join(
        [
            "# A run beside other work",
            "",
            f"Made by `python -m bench.beside` on {os.cpu_count()} CPU cores ({used}): seconds a",
            "step of the tiny recipe, the median of 12 steps. The busy core runs an endless loop.",
            "",
            "| OpenMP's threads, while they wait | alone | beside one busy core | ratio |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )
    write_atomic(ROOT / "docs/beside.md", text)
    print(text)


if __name__ == "__main__":
    main()
