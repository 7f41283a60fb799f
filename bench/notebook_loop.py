"""Onecard and a plain notebook's loop (Unsloth and TRL), with a real model on this machine's CPU.

    python train.py recipes/smollm2-gym.yaml        a run: its SFT is what both start from
    python -m bench.notebook_loop runs/smollm2-gym

The same model, problems, batch, steps and seed for both, round after round, each going first in
every second round; each in a process of its own. Completions end where the model ends them, so the
rewards can be put side by side too. Prints seconds a step, memory and rewards, and writes
docs/notebook-loop.md. About half an hour; nothing else should be busy meanwhile.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from statistics import fmean, median
from typing import Any

from bench.gpu import LABELS, ROOT, WARM_UP_STEPS, run
from eval.statistics import mean_interval
from onecard.console.command import run_command
from onecard.files.atomic import write_atomic
from onecard.files.formats import write_yaml
from onecard.machine.packages import versions
from onecard.machine.precision import choose_precision
from onecard.model.weights import read_base
from onecard.recipe.file import load_recipe
from onecard.report.steps import PARTS
from onecard.stages.grpo import section_of
from onecard.types import RunFailed

PAGE = ROOT / "docs/notebook-loop.md"
OURS, THEIRS = "onecard", "notebook"
STEPS = 15
PARTS_OF_CURVE = 3


def merge(run_folder: Path, model: str, folder: Path) -> None:
    """The model after a run's SFT, as weights of its own: a notebook knows no adapter of ours."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    merged = PeftModel.from_pretrained(base, run_folder / "sft-adapter").merge_and_unload()
    merged.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)


def one_round(run_folder: Path, weights: Path, seed: int, steps: int) -> dict[str, Any]:
    """What the two measured with one seed. Raises RunFailed where one of them did not run."""
    changed = [
        f"model.name={weights}",
        "sft=null",
        f"seed={seed}",
        f"grpo.max_steps={steps}",
        f"save.every_steps={steps + 1}",
    ]
    recipe = load_recipe(run_folder / "recipe.resolved.yaml", changed)
    found: dict[str, Any] = {}
    for name in (OURS, THEIRS) if seed % 2 == 0 else (THEIRS, OURS):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_yaml(folder / "recipe.yaml", recipe.resolved())
            for part in ("model", name):  # the first leaves the problems there
                outcome = run(part, folder)
                if "error" in outcome:
                    log = (folder / f"{part}.log").read_text(encoding="utf-8")
                    raise RunFailed(f"{part} did not run: {outcome['error']}\n{log[-2000:]}")
        found[name] = outcome
        print(f"seed {seed}, {LABELS[name]}: {seconds(outcome):.2f} s/step", flush=True)
    return found


def step_seconds(outcome: dict[str, Any]) -> list[float]:
    """The steps that count: what is loaded on first use falls into the others."""
    steps = outcome["steps"][WARM_UP_STEPS:]
    return [sum(step[f"time/{part}"] for part in PARTS) for step in steps]


def seconds(outcome: dict[str, Any]) -> float:
    return median(step_seconds(outcome))


def curve(rewards: list[float]) -> str:
    """The mean reward of each part of a run."""
    size = len(rewards) // PARTS_OF_CURVE
    return ", ".join(f"{fmean(rewards[k * size : (k + 1) * size]):.2f}" for k in range(3))


def page(rounds: dict[int, dict[str, Any]], about: str) -> str:
    """The whole page: a row for each seed and contender, ratios, and the difference of rewards."""
    lines = [
        "| seed | | s/step | generation | training | peak GiB | reward, by thirds |",
        "|" + "---|" * 7,
    ]
    for seed, found in rounds.items():
        for name in (OURS, THEIRS):
            one = found[name]
            split = [
                median(step[f"time/{part}"] for step in one["steps"][WARM_UP_STEPS:])
                for part in ("generation", "training")
            ]
            lines.append(
                f"| {seed} | {LABELS[name]} | {seconds(one):.2f} | {split[0]:.2f} |"
                f" {split[1]:.2f} | {one['peak_gib']:.2f} | {curve(one['rewards'])} |"
            )
    pairs = [(found[OURS], found[THEIRS]) for found in rounds.values()]
    speed = [seconds(ours) / seconds(theirs) for ours, theirs in pairs]
    memory = [ours["peak_gib"] / theirs["peak_gib"] for ours, theirs in pairs]
    rewards = [
        a - b
        for ours, theirs in pairs
        for a, b in zip(ours["rewards"], theirs["rewards"], strict=True)
    ]
    low, high = mean_interval(rewards)
    text = "\n".join(lines)
    return f"""# Onecard and a notebook's loop

Made by `python -m bench.notebook_loop RUN`. {about}

{text}

Onecard's seconds a step, divided by the notebook's: {ratios(speed)}. Its peak of memory, divided by
the notebook's: {ratios(memory)}. The reward of the same step, Onecard's less the notebook's, mean
of all: {fmean(rewards):+.3f} (95 %: {low:+.3f} to {high:+.3f}).
"""


def ratios(values: list[float]) -> str:
    return f"{median(values):.2f} (seed by seed {', '.join(f'{v:.2f}' for v in values)})"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.notebook_loop",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="a run folder with SFT and GRPO")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    return run_command(lambda: compare(args.run, args.steps, args.seeds))


def compare(run_folder: Path, steps: int, seeds: int) -> int:
    base = read_base(run_folder / "sft-adapter")
    assert base is not None, "a run of ours notes the base beside its adapter"
    recipe = load_recipe(run_folder / "recipe.resolved.yaml")
    with tempfile.TemporaryDirectory() as temporary:
        weights = Path(temporary) / "after-sft"
        merge(run_folder, base["name"], weights)
        rounds = {seed: one_round(run_folder, weights, seed, steps) for seed in range(seeds)}
    grpo = section_of(recipe)
    threads = os.environ.get("OMP_NUM_THREADS") or os.cpu_count()
    about = (
        f"The recipe {recipe.name} from the end of its SFT, computing in {choose_precision([])},"
        f" threads: {threads}. {steps} steps of {grpo.prompts_per_step} prompts and"
        f" {grpo.num_generations} completions of at most {grpo.max_completion_length} tokens, LoRA"
        f" rank {recipe.lora.rank}. Medians of the steps after the first {WARM_UP_STEPS}."
        f" {', '.join(map(' '.join, versions().items()))}."
    )
    text = page(rounds, about)
    write_atomic(PAGE, text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
