"""Has a change made steps slower? python -m bench.steps REVISION

Steps of the tiny recipe on this machine's CPU: this working tree and an older revision of it, side
by side, round after round, each going first in every second round. Prints the median seconds of a
GRPO step and of a whole SFT stage for both, the ratio, and the smallest and largest ratio of a
round. Three minutes a round; nothing else should be busy meanwhile.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from onecard.files.formats import read_jsonl

ROOT = Path(__file__).parent.parent
SFT_STEPS = 200
SETTINGS = (
    f"warmup.max_steps={SFT_STEPS}",  # an older revision knows SFT by that name alone
    "grpo.max_steps=14",
    "data.train_problems=600",
    "eval.benchmarks=[tiny]",
    "eval.limit=8",
    "pilot=0",
)
FIRST_STEPS = 2  # left out: what is loaded on first use falls into them
PARTS = ("time/generation", "time/reward", "time/training")


@dataclass(frozen=True)
class Pace:
    """`step`: the median GRPO step of a run, in seconds. `sft`: its whole SFT stage."""

    step: float
    sft: float


def measure(root: Path, environment: Mapping[str, str] | None = None) -> Pace:
    """A short run of the tiny recipe with the code in `root`."""
    with tempfile.TemporaryDirectory() as folder:
        options = [part for setting in SETTINGS for part in ("--set", setting)]
        done = subprocess.run(
            [sys.executable, str(root / "train.py"), str(root / "recipes/tiny.yaml"), *options],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(root)} | dict(environment or {}),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        lines = read_jsonl(Path(folder) / "runs/tiny/metrics.jsonl")
    steps = [sum(line[part] for part in PARTS) for line in lines if PARTS[0] in line]
    return Pace(float(median(steps[FIRST_STEPS:])), sft_seconds(done.stdout))


def sft_seconds(printed: str) -> float:
    """The seconds that the display gives for the whole of SFT: "... step 200/200 ... 0:41"."""
    last = next(line for line in printed.splitlines() if f"step {SFT_STEPS}/{SFT_STEPS}" in line)
    minutes, seconds = last.split()[-1].split(":")
    return 60.0 * int(minutes) + int(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.steps", description=__doc__)
    parser.add_argument("revision", help="a commit of this repository")
    parser.add_argument("--rounds", type=int, default=8)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        older = Path(folder) / "older"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(older)], check=True)
        subprocess.run(["git", "checkout", "--quiet", args.revision], cwd=older, check=True)
        # The same for both, so that the code alone differs.
        policy = {"GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "3000")}
        paces: dict[str, list[Pace]] = {"before": [], "now": []}
        sides = [("before", older), ("now", ROOT)]
        for number in range(args.rounds):
            for name, root in sides:
                pace = measure(root, policy)
                paces[name].append(pace)
                print(f"{number + 1}/{args.rounds} {name}: {pace}", flush=True)
            sides.reverse()
    for what in ("step", "sft"):
        before = [getattr(pace, what) for pace in paces["before"]]
        now = [getattr(pace, what) for pace in paces["now"]]
        ratios = [new / old for old, new in zip(before, now, strict=True)]
        print(
            f"{what}: {median(before):.3f} s before, {median(now):.3f} s now,"
            f" ratio {median(now) / median(before):.3f}; round by round"
            f" {median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}"
        )


if __name__ == "__main__":
    main()
