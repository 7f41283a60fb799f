"""Is the same accuracy reached sooner? `make faster`: hours in all.

The stock loop, and the same with dynamic sampling, on each of TASKS: three seeds each, from what
SFT with that seed has made, the arms of a seed one after the other, each seed with another one
first. A run that was interrupted goes on, and what is finished is not done again: it is in
docs/faster/, one file a run. docs/faster.md is made of those files.

    python -m bench.faster mixed-sums              all of a task that is missing
    python -m bench.faster smollm2-gym FOLDER      the same with a real model's folder
    python -m bench.faster                         the page, from what is there
"""

import argparse
import json
from dataclasses import dataclass
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
RESULTS, PAGE = ROOT / "docs/faster", ROOT / "docs/faster.md"
SEEDS = (0, 1, 2)
STOCK = "stock loop"
REFILL = "refill"
BY_PASS_RATE = "refill, by pass rate"
ARMS = {
    STOCK: (),
    REFILL: ("grpo.dynamic_sampling={}",),
    BY_PASS_RATE: ("grpo.dynamic_sampling={choose: by_pass_rate}",),
}
LAST = 3  # evaluations, of which the mean is an accuracy of training
NEARLY = 0.95  # of the stock loop's gain


@dataclass(frozen=True)
class Task:
    """A recipe, and how it is watched. `levels`: how hard its problems are, for BY_PASS_RATE."""

    recipe: str
    about: str
    watched: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()


TASKS = {
    "mixed-sums": Task(
        "experiments/mixed-sums",
        "Sums of two to six numbers: some are trivial for the tiny model, some out of its reach.",
        levels=("data.difficulty=metadata.num_terms",),
    ),
    "tiny": Task(
        "tiny",
        "The recipe of `make demo`. Nothing says how hard its problems are.",
        watched=("eval.every_steps=5", "eval.dev_problems=256", "eval.benchmarks=[tiny]"),
    ),
    "smollm2-gym": Task(
        "smollm2-gym",
        "A real pretrained model, SmolLM2-135M-Instruct, on sums of three numbers.",
        watched=("eval.every_steps=3", "eval.dev_problems=128"),
    ),
}
INTRODUCTION = """# Time to the same accuracy

Made by `make faster`. The arms are in bench/faster.py: the stock loop, and
`grpo.dynamic_sampling` with problems in turn, and by pass rate. Every arm starts from what SFT with
its seed has made, and takes as many steps, each on as many completions.

- "reached" is when the dev accuracy, greedy, as a mean of three evaluations, is what the stock loop
  with the same seed ends with. "Nearly" is 95 % of what that loop gains: where both end on one
  level, the whole of it is reached by luck. Seconds are those of the steps, without evaluations.
- "times as fast" is the stock loop's seconds to that accuracy, through the arm's; "by tokens" the
  same with tokens that were generated. An arm that does not get there has none.
- Test accuracy is greedy, at the end of training, pooled over the seeds as in
  [experiments.md](experiments.md).

**What was found.** The goal was to reach all of the stock loop's accuracy 1.5 times as fast where
problems differ in difficulty, and never slower elsewhere. It is missed: by pass rate, two seeds of
three get there more than twice as fast, and the third, which ends 0.8 points higher on the test
split, never does on the dev split. To 95 % of the gain, all three are 1.9 to 2.4 times as fast.
Where the model soon solves nearly all, as with the tiny recipe, refilling samples half as much
again, and is slower in most seeds. So it is off, and a recipe has to ask for it: do so where
`rewards/signal_share` is low. A real model was not tried yet, and choosing without refilling
(`max_rounds: 1`) neither. No arm had a pilot, whose groups would have been a first guess.

Measured before adapters of 4-bit models were trained in 32 bit on a CPU, which makes all arms
faster.

The stock loop is Onecard's own with all of this off. On a card that is Unsloth's and TRL's loop; on
a CPU it takes half of their time ([notebook-loop.md](notebook-loop.md)).
"""


def start(task: str, seed: int, model: str) -> list[str]:
    """What SFT with a seed has made, as the settings of a run that starts from it."""
    recipe = TASKS[task].recipe
    name = [f"model.name={model}"] if model else []
    settings = (f"seed={seed}", "grpo.max_steps=1", "pilot=0", "eval.limit=8")
    folder = train(recipe, f"faster-{task}-start-{seed}", *name, *settings, "eval.every_steps=null")
    sft = load_recipe(ROOT / f"recipes/{recipe}.yaml").sft
    assert sft is not None
    if sft.trains == "all_weights":
        return [f"model.name={folder}/base-model"]
    return [*name, f"model.adapter={folder}/sft-adapter"]


def measure(task: str, arm: str, seed: int, model: str) -> dict[str, Any]:
    """One run: its dev accuracy by seconds and by tokens, and what it can do at the end."""
    asked = TASKS[task]
    levels = asked.levels if arm == BY_PASS_RATE else ()
    started = (*start(task, seed, model), "sft=null", "pilot=0", f"seed={seed}")
    settings = (*started, *asked.watched, *levels, *ARMS[arm])
    run = train(asked.recipe, f"faster-{task}-{file_name(arm)}-{seed}", *settings)
    dev = load_recipe(ROOT / f"recipes/{asked.recipe}.yaml").source.dev_benchmark
    (test,) = json.loads((run / "results.json").read_text(encoding="utf-8"))["benchmarks"]
    seconds, tokens, curve = 0.0, 0.0, []
    for line in read_jsonl(run / "metrics.jsonl"):
        if "time/generation" in line:
            seconds += sum(line[f"time/{part}"] for part in PARTS)
            tokens += line["time/tokens_per_second"] * line["time/generation"]
        if (right := line.get(f"eval/{dev}/accuracy")) is not None:
            curve.append([line["step"], round(seconds, 1), round(tokens), right])
    return {"curve": curve, "greedy": outcome(run / f"eval/{test}-after")}


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


def result(task: str, arm: str, seed: int) -> Path:
    return RESULTS / f"{task}-{file_name(arm)}-{seed}.json"


def load_runs(task: str, arm: str) -> dict[int, dict[str, Any]]:
    files = {seed: result(task, arm, seed) for seed in SEEDS}
    return {
        seed: json.loads(file.read_text(encoding="utf-8"))
        for seed, file in files.items()
        if file.is_file()
    }


def told_speed(curve: list[list[float]], stock: list[list[float]], part: float) -> list[str]:
    """Until an arm has gained that part of what the stock loop gains: seconds, and times as fast.

    By seconds, and by tokens.
    """
    start, end = stock[0][3], smoothed(stock)[-1][2]
    wanted = start + part * (end - start)
    ours, theirs = reached(curve, wanted), reached(stock, wanted)
    assert theirs is not None
    if ours is None:
        return ["never", "", ""]
    return [f"{ours[0]:.0f}", *(f"{t / o:.2f}" for t, o in zip(theirs, ours, strict=True))]


def row(task: str, arm: str, stock: dict[int, dict[str, Any]]) -> str:
    runs = {seed: run for seed, run in load_runs(task, arm).items() if seed in stock}
    cells = []
    for part in (1.0, NEARLY):
        told = [told_speed(run["curve"], stock[seed]["curve"], part) for seed, run in runs.items()]
        cells += [list(column) for column in zip(*told, strict=True)]
    shares = [{"arm": run} for run in runs.values()]
    right = pooled(shares, "arm", "greedy")
    before = pooled([{"arm": stock[seed]} for seed in runs], "arm", "greedy")
    gain = "" if arm == STOCK else more(before, right)
    listed = " | ".join(", ".join(cell) for cell in cells)
    each = ", ".join(percent(fmean(run["greedy"]["right"])) for run in runs.values())
    return f"| {arm} | {listed} | {accuracy(right)}; {each} | {gain} |"


def plot(task: str) -> str:
    """The dev accuracy of each run by the seconds of its steps, as SVG text."""
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, arm in enumerate(ARMS):
        for place, run in enumerate(load_runs(task, arm).values()):
            points = [(seconds, 100 * right) for seconds, _, right in smoothed(run["curve"])]
            label = arm if place == 0 else None
            axes.plot(*zip(*points, strict=True), color=f"C{number}", linewidth=1.2, label=label)
    axes.set(xlabel="seconds of steps", ylabel="dev accuracy: %, mean of three evaluations")
    axes.legend(fontsize=7)
    return as_svg(figure)


def section(task: str) -> str:
    """What the page says of a task."""
    asked, stock = TASKS[task], load_runs(task, STOCK)
    title = (
        f"## {task}\n\n{asked.about} The recipe: [{asked.recipe}](../recipes/{asked.recipe}.yaml)."
    )
    if not stock:
        return f"{title}\n\nNot run yet.\n"
    lines = [
        f"![accuracy by seconds](faster/{task}.svg)",
        "",
        (
            f"| arm | seconds until reached, seeds {', '.join(map(str, stock))} | times as fast"
            " | by tokens | seconds until nearly reached | times as fast | by tokens | test"
            " accuracy: % (95 %); each seed | more than stock: points |"
        ),
        "|" + "---|" * 9,
        *(row(task, arm, stock) for arm in ARMS if load_runs(task, arm)),
    ]
    return f"{title}\n\n" + "\n".join(lines) + "\n"


def page() -> str:
    return "\n".join([INTRODUCTION, *map(section, TASKS)])


def write_page() -> None:
    for task in TASKS:
        if load_runs(task, STOCK):
            write_atomic(RESULTS / f"{task}.svg", plot(task) + "\n")
    write_atomic(PAGE, page())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.faster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", nargs="?", choices=list(TASKS))
    parser.add_argument("model", nargs="?", default="", help="a real model's folder")
    args = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    arms = list(ARMS)
    for seed in SEEDS if args.task else ():
        for arm in arms[seed:] + arms[:seed]:
            file = result(args.task, arm, seed)
            if not file.is_file():
                write_json(file, measure(args.task, arm, seed, args.model))
                write_page()
    write_page()
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
