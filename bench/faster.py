"""Is the same accuracy reached sooner? `make faster`: hours in all.

The stock loop, and the same with dynamic sampling, on recipes/experiments/mixed-sums.yaml: three
seeds each, from the model that SFT with that seed has made, the arms of a seed one after the other.
A run that was interrupted goes on, and what is finished is not done again: it is in docs/faster/,
one file a run. docs/faster.md is made of those files.

    python -m bench.faster             all that is missing
    python -m bench.faster --page      the page, from what is there
"""

import json
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.real import outcome, train
from bench.real_table import accuracy, more, percent, pooled
from onecard.files.atomic import write_atomic
from onecard.files.formats import read_jsonl, write_json
from onecard.recipe.file import load_recipe
from onecard.report.curves import as_svg
from onecard.report.steps import PARTS

ROOT = Path(__file__).parent.parent
RECIPE = "experiments/mixed-sums"
RESULTS, PAGE = ROOT / "docs/faster", ROOT / "docs/faster.md"
SEEDS = (0, 1, 2)
STOCK = "stock loop"
BY_PASS_RATE = "grpo.dynamic_sampling={choose: by_pass_rate}"
ARMS = {
    STOCK: (),
    "refill": ("grpo.dynamic_sampling={}",),
    "refill, by pass rate": (BY_PASS_RATE, "data.difficulty=metadata.num_terms"),
}
LAST = 3  # evaluations, of which the mean is an accuracy of training
INTRODUCTION = """# Time to the same accuracy

Made by `make faster` with the tiny model on
[sums of two to six numbers](../recipes/experiments/mixed-sums.yaml). The arms are in
bench/faster.py: the stock loop, and `grpo.dynamic_sampling` with problems in turn, and by pass rate
and difficulty. **Measured on one machine, with a model of 0.4 M parameters.**

- "reached" is when the dev accuracy, greedy, as a mean of three evaluations, is what the stock loop
  with the same seed ends with. Seconds are those of the steps, without evaluations; tokens are
  those that were generated.
- "times as fast" is the stock loop's seconds to that accuracy, through the arm's. An arm that does
  not get there has none.
- Test accuracy is greedy, at the end of training, pooled over the seeds as in
  [experiments.md](experiments.md).
"""


def start(seed: int) -> str:
    """The model that the arms of a seed start from."""
    settings = ("grpo.max_steps=1", "pilot=0", "eval.limit=8", "eval.every_steps=null")
    folder = train(RECIPE, f"faster-start-{seed}", f"seed={seed}", *settings)
    return str(folder / "base-model")


def measure(arm: str, seed: int) -> dict[str, Any]:
    """One run: its dev accuracy by seconds and by tokens, and what it can do at the end."""
    settings = (f"model.name={start(seed)}", "sft=null", "pilot=0", f"seed={seed}", *ARMS[arm])
    run = train(RECIPE, f"faster-{file_name(arm)}-{seed}", *settings)
    dev = load_recipe(ROOT / f"recipes/{RECIPE}.yaml").source.dev_benchmark
    seconds, tokens, curve = 0.0, 0.0, []
    for line in read_jsonl(run / "metrics.jsonl"):
        if "time/generation" in line:
            seconds += sum(line[f"time/{part}"] for part in PARTS)
            tokens += line["time/tokens_per_second"] * line["time/generation"]
        if (right := line.get(f"eval/{dev}/accuracy")) is not None:
            curve.append([line["step"], round(seconds, 1), round(tokens), right])
    return {"curve": curve, "greedy": outcome(run / "eval/test-after")}


def file_name(arm: str) -> str:
    return arm.replace(",", "").replace(" ", "-")


def smoothed(curve: list[list[float]]) -> list[tuple[float, float, float]]:
    """Seconds, tokens, and the mean accuracy of the last evaluations up to then."""
    found = []
    for place in range(LAST - 1, len(curve)):
        last = curve[place - LAST + 1 : place + 1]
        found.append((curve[place][1], curve[place][2], fmean(row[3] for row in last)))
    return found


def reached(curve: list[list[float]], wanted: float) -> tuple[float, float] | None:
    """The seconds and tokens after which an accuracy is reached; None where it never is."""
    for seconds, tokens, right in smoothed(curve):
        if right >= wanted:
            return seconds, tokens
    return None


def load_runs(arm: str) -> dict[int, dict[str, Any]]:
    files = {seed: RESULTS / f"{file_name(arm)}-{seed}.json" for seed in SEEDS}
    return {
        seed: json.loads(file.read_text(encoding="utf-8"))
        for seed, file in files.items()
        if file.is_file()
    }


def row(arm: str, stock: dict[int, dict[str, Any]]) -> str:
    runs = {seed: run for seed, run in load_runs(arm).items() if seed in stock}
    cells: list[list[str]] = [[], [], [], []]
    for seed, run in runs.items():
        wanted = smoothed(stock[seed]["curve"])[-1][2]
        ours, theirs = reached(run["curve"], wanted), reached(stock[seed]["curve"], wanted)
        assert theirs is not None
        told = [f"{ours[0]:.0f}", f"{ours[1]:,.0f}"] if ours else ["never", "never"]
        both = zip(theirs, ours, strict=True) if ours else ()
        told += [f"{before / after:.2f}" for before, after in both] or ["", ""]
        for cell, text in zip(cells, told, strict=True):
            cell.append(text)
    shares = [{"arm": run} for run in runs.values()]
    right = pooled(shares, "arm", "greedy")
    before = pooled([{"arm": stock[seed]} for seed in runs], "arm", "greedy")
    gain = "" if arm == STOCK else more(before, right)
    listed = " | ".join(", ".join(cell) for cell in cells)
    each = ", ".join(percent(fmean(run["greedy"]["right"])) for run in runs.values())
    return f"| {arm} | {listed} | {accuracy(right)}; {each} | {gain} |"


def plot() -> str:
    """The dev accuracy of each run by the seconds of its steps, as SVG text."""
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, arm in enumerate(ARMS):
        for place, run in enumerate(load_runs(arm).values()):
            points = [(seconds, 100 * right) for seconds, _, right in smoothed(run["curve"])]
            label = arm if place == 0 else None
            axes.plot(*zip(*points, strict=True), color=f"C{number}", linewidth=1.2, label=label)
    axes.set(xlabel="seconds of steps", ylabel="dev accuracy: %, mean of three evaluations")
    axes.legend(fontsize=7)
    return as_svg(figure)


def page() -> str:
    stock = load_runs(STOCK)
    if not stock:
        return f"{INTRODUCTION}\nNot run yet.\n"
    lines = [
        "![accuracy by seconds](faster/curves.svg)",
        "",
        (
            f"| arm | seconds until reached, seeds {', '.join(map(str, stock))} | tokens | times as"
            " fast | by tokens | test accuracy: % (95 %); each seed | more than stock: points |"
        ),
        "|" + "---|" * 7,
        *(row(arm, stock) for arm in ARMS if load_runs(arm)),
    ]
    return f"{INTRODUCTION}\n" + "\n".join(lines) + "\n"


def write_page() -> None:
    if load_runs(STOCK):
        write_atomic(RESULTS / "curves.svg", plot() + "\n")
    write_atomic(PAGE, page())


def main() -> None:
    RESULTS.mkdir(exist_ok=True)
    for seed in SEEDS if sys.argv[1:] != ["--page"] else ():
        for arm in ARMS:
            file = RESULTS / f"{file_name(arm)}-{seed}.json"
            if not file.is_file():
                write_json(file, measure(arm, seed))
                write_page()
    write_page()
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
