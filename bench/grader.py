"""How fast is the grader? Side by side with math-verify on the same GSM8K rows, and on hostile
text. Prints both.

python -m bench.grader [FOLDER with GSM8K's test.jsonl]
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from math_verify import parse, verify

from bench.hostile import HOSTILE
from onecard.data.rows import read_rows
from onecard.files.formats import read_jsonl
from rewards.answer import grade

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data/gsm8k")


def rate(check: Callable[[str, str], bool], rows: list[tuple[str, str]]) -> float:
    """Rows a second; every row must come out right."""
    started = time.perf_counter()
    assert all(check(completion, gold) for completion, gold in rows)
    return len(rows) / (time.perf_counter() - started)


def main() -> None:
    raw = read_jsonl(FOLDER / "test.jsonl")
    samples = read_rows(raw, "gsm8k")
    rows = [(f"<think>{s.solution}</think>\\boxed{{{s.gold}}}", s.gold) for s in samples]
    rate(lambda c, g: bool(verify(parse(f"${g}$"), parse(c))), rows[:20])  # sympy's caches
    ours = rate(lambda c, g: grade(c, g).value == 1.0, rows)
    theirs = rate(lambda c, g: bool(verify(parse(f"${g}$"), parse(c))), rows)
    print(
        f"{len(rows)} GSM8K solutions ending in a box: grade {ours:,.0f} rows/s, math-verify"
        f" {theirs:,.0f} rows/s"
    )
    print(f"ratio: {ours / theirs:.0f}")
    slowest = 0.0
    for text in HOSTILE:
        best = min(timed(text) for _ in range(7))
        slowest = max(slowest, best)
        print(f"{best * 1e6:8.0f} us  {len(text):>7,} characters of {text[:16]!a}")
    print(f"slowest hostile text: {slowest * 1e3:.2f} ms")


def timed(text: str) -> float:
    started = time.perf_counter()
    grade(text, "18")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
