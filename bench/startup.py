"""How long a person waits for an answer that needs no model: `python -m bench.startup`.

Each command and a bare `import pydantic, yaml, rich` take turns; the table has the median seconds
of each, and its ratio to the bare import in the same round.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROUNDS = 7
BARE = ("-c", "import pydantic, yaml, rich")
COMMANDS = [
    ("train.py", "--help"),
    ("train.py", "recipes/tiny.yaml", "--plan"),
    ("train.py", "recipes/gsm8k-tiny.yaml", "--plan"),
    ("-m", "eval", "--help"),
    ("-m", "rewards", "--help"),
]


def seconds(arguments: tuple[str, ...]) -> float:
    """What one call takes; CalledProcessError if it fails."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Prints the table."""
    taken: dict[tuple[str, ...], list[float]] = {one: [] for one in (BARE, *COMMANDS)}
    for _ in range(ROUNDS + 1):
        for arguments, times in taken.items():
            times.append(seconds(arguments))
    print(f"| command | seconds, median of {ROUNDS} | times the bare import |")
    print("|---|---|---|")
    bare = taken[BARE][1:]  # the first round compiles the modules
    for arguments, times in taken.items():
        ratios = [one / other for one, other in zip(times[1:], bare, strict=True)]
        middle = statistics.median(times[1:])
        print(f"| `{' '.join(arguments)}` | {middle:.2f} | {statistics.median(ratios):.2f} |")


if __name__ == "__main__":
    main()
