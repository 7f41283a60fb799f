"""Has a change made scoring slower? python -m bench.scoring REVISION

A batch of 1,024 completions under all pure rules of recipes/r1-style.yaml: this working tree and an
older revision of it (from the second house on), in turn, each in a process of its own. Prints the
best milliseconds of a batch for both, and the ratio round by round. A minute or two.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
ROUNDS = 7
BATCH = """
import sys, time
from onecard.data.rows import read_rows
from onecard.data.synthetic import build_problems
from onecard.recipe.file import load_recipe
from onecard.types import Rollout
from rewards.scoring import BatchScorer

recipe = load_recipe(sys.argv[1])
scorer = BatchScorer(recipe.rewards, recipe.answer, recipe.scoring)
problems = read_rows(build_problems("train", 128), "tiny")
batch = [
    Rollout(
        problem,
        f"<think>First, {problem.solution} Let me check.</think><answer>{problem.gold}</answer>",
        tokens=60,
        place=8 * group + sample,
        group=group,
    )
    for group, problem in enumerate(problems)
    for sample in range(8)
]
best = float("inf")
for _ in range(8):
    started = time.perf_counter()
    scorer.score(batch)
    best = min(best, time.perf_counter() - started)
print(best)
"""


def milliseconds(root: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", BATCH, str(root / "recipes/r1-style.yaml")],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return 1e3 * float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scoring", description=__doc__)
    parser.add_argument("revision", help="a commit of this repository")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        older = Path(folder) / "older"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(older)], check=True)
        subprocess.run(["git", "checkout", "--quiet", args.revision], cwd=older, check=True)
        before: list[float] = []
        now: list[float] = []
        for number in range(ROUNDS):
            sides = [(before, older), (now, ROOT)]
            for found, root in sides if number % 2 else reversed(sides):
                found.append(milliseconds(root))
    ratios = [new / old for old, new in zip(before, now, strict=True)]
    print(
        f"1,024 completions: {median(before):.1f} ms before, {median(now):.1f} ms now; round by"
        f" round {median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}"
    )


if __name__ == "__main__":
    main()
