"""Does the demo do what the README says? Runs it again and writes the table that it shows.

python -m bench.demo seeds       the tiny recipe with seeds 0, 1 and 2: accuracy must rise by
                                 25 points or more
python -m bench.demo controls    the same, paid by a coin, and paid for the format alone: it
                                 must not rise
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
POINTS_WANTED = 25
P_WANTED = 0.001
MINUTES_WANTED = 6
GIB_WANTED = 4

SEEDS = {f"seed {seed}": [f"seed={seed}"] for seed in (0, 1, 2)}
CONTROLS = {
    "random reward": ["rewards=[{name: random}]"],
    "format reward only": ["rewards=[{name: think_format}]"],
}


def run(label: str, settings: list[str]) -> dict[str, Any]:
    """One run of the tiny recipe in runs/bench-...; its results, and its wall time in seconds."""
    name = f"bench-{label.replace(' ', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
    started = time.monotonic()
    arguments = [part for setting in settings for part in ("--set", setting)]
    subprocess.run(
        [sys.executable, "train.py", "recipes/tiny.yaml", "--name", name, *arguments],
        cwd=ROOT,
        check=True,
    )
    results: dict[str, Any] = json.loads(
        (ROOT / "runs" / name / "results.json").read_text(encoding="utf-8")
    )
    return results | {"wall_seconds": time.monotonic() - started}


def row(label: str, benchmark: str, results: dict[str, Any]) -> str:
    b = results["benchmarks"][benchmark]
    d, f = b["difference"], b["flexible_difference"]
    cells = [
        label,
        benchmark,
        str(b["n"]),
        *(f"{100 * b[when]['accuracy']:.1f}" for when in ("before", "after")),
        f"{d['points']:+.1f} ({d['ci_low']:+.1f} to {d['ci_high']:+.1f})",
        f"{d['p_value']:.1g}",
        f"{f['points']:+.1f}",
        *(f"{100 * b[when]['step_by_step']:.0f}" for when in ("before", "after")),
        *(f"{b[when]['mean_tokens']:.1f}" for when in ("before", "after")),
        f"{results['wall_seconds']:.0f}",
        f"{results['peak_memory_gib']:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def rose(results: dict[str, Any]) -> bool:
    b = results["benchmarks"]["tiny"]
    rises = (b["difference"]["points"], b["flexible_difference"]["points"])
    cheap = (
        results["wall_seconds"] <= 60 * MINUTES_WANTED and results["peak_memory_gib"] <= GIB_WANTED
    )
    return bool(min(rises) >= POINTS_WANTED and b["difference"]["p_value"] < P_WANTED and cheap)


def did_not_rise(results: dict[str, Any]) -> bool:
    difference = results["benchmarks"]["tiny"]["difference"]
    return bool(difference["points"] <= 0 or difference["p_value"] >= 0.05)


def main() -> int:
    which = sys.argv[1] if len(sys.argv) == 2 else ""
    if which not in ("seeds", "controls"):
        print(__doc__)
        return 2
    found = {
        label: run(label, settings)
        for label, settings in (SEEDS if which == "seeds" else CONTROLS).items()
    }
    holds = {
        label: (rose if which == "seeds" else did_not_rise)(results)
        for label, results in found.items()
    }
    lines = [
        f"<!-- made by `make {which}` -->",
        (
            "| run | benchmark | n | before % | after % | difference, points (95 %) | p | flexible,"
            " points | step by step before % | after % | tokens before | after | seconds | GiB |"
        ),
        "|" + "---|" * 14,
        *(
            row(label, benchmark, results)
            for label, results in found.items()
            for benchmark in results["benchmarks"]
        ),
    ]
    file = ROOT / "docs" / f"demo-{which}.md"
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"\n{file.read_text(encoding='utf-8')}\nwritten to {file.relative_to(ROOT)}")
    for label, held in holds.items():
        print(f"{label}: {'as claimed' if held else 'NOT AS CLAIMED'}")
    return 0 if all(holds.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
