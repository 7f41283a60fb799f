"""Onecard, a plain Unsloth notebook's loop, and stock TRL without Unsloth, side by side on a card.

    make bench-gpu                                   recipes/gpu-smoke.yaml; on a machine without
                                                     a card recipes/tiny.yaml, cut small
    python -m bench.gpu [RECIPE] [--set KEY=VALUE]   another recipe, or other values

Seconds, tokens, memory. The three train the same model on the same prompts with the same batch,
LoRA, loss and number of steps, one after the other, each in a process of its own. Every completion
is exactly grpo.max_completion_length tokens long, which is checked afterwards. Of the steps after
the first two the median counts. The table is written to docs/bench-gpu.md, on a card only.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from onecard.console.command import run_command
from onecard.files.atomic import write_atomic
from onecard.files.formats import write_yaml
from onecard.machine.gpu import GIB, Card, check_card, find_cards
from onecard.machine.packages import versions
from onecard.recipe.file import load_recipe
from onecard.recipe.schema import Recipe
from onecard.report.steps import PARTS
from onecard.stages.grpo import section_of
from onecard.types import RunFailed, UserError

ROOT = Path(__file__).parent.parent
LABELS = {"onecard": "Onecard", "notebook": "Unsloth notebook", "stock": "stock TRL"}
WARM_UP_STEPS = 2
MINUTES = 30  # for each
SMALL = (
    "grpo.max_steps=6",
    "grpo.per_device_train_batch_size=32",
    "grpo.max_completion_length=24",
    "data.train_problems=400",
)


def stock_uses_vllm(recipe: Recipe) -> bool:
    """Whether stock TRL 1.15 can do what the others do with vLLM.

    Of a 4-bit model it makes a 4-bit engine. But before each generation VLLMGeneration.sync_weights
    merges the adapter into the 4-bit weights, which rounds the sum to 4 bits with new scales, and
    hands the engine each `param.data`: the packed numbers without those scales. The engine then
    samples from other weights than are trained.
    """
    return recipe.model.fast_inference and not recipe.model.load_in_4bit


def fixed_length(recipe: Recipe, vllm: bool) -> dict[str, int]:
    """GRPOConfig's generation_kwargs, by which no end token can be sampled: vLLM's name for it, or
    transformers'.
    """
    return {"min_tokens" if vllm else "min_new_tokens": section_of(recipe).max_completion_length}


def for_bench(recipe: Recipe) -> Recipe:
    """The recipe with completions of a fixed length, new ones in every step, and no checkpoints.
    Raises UserError for too few steps.
    """
    steps = section_of(recipe).max_steps
    if steps <= WARM_UP_STEPS:
        raise UserError(
            f"grpo.max_steps {steps}: the first {WARM_UP_STEPS} do not count; make it"
            f" {WARM_UP_STEPS + 3}"
        )
    content = recipe.resolved()
    content["grpo"]["extra"]["generation_kwargs"] = fixed_length(
        recipe, recipe.model.fast_inference
    )
    content["grpo"]["num_iterations"] = 1
    content["save"]["every_steps"] = steps + 1
    return Recipe.model_validate(content)


def run(name: str, folder: Path) -> dict[str, Any]:
    """One contender's measurements, or {"error": why there are none}."""
    command = [sys.executable, str(ROOT / "bench/contenders.py"), name, str(folder)]
    with (folder / f"{name}.log").open("w", encoding="utf-8") as log:
        try:
            done = subprocess.run(
                command, cwd=folder, stdout=log, stderr=log, timeout=60 * MINUTES, check=False
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {MINUTES} minutes"}
    result = folder / f"{name}.json"
    if result.exists():
        return json.loads(result.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    return (
        {}
        if done.returncode == 0
        else {"error": f"its process ended with exit code {done.returncode}"}
    )


def middle(found: dict[str, Any]) -> dict[str, float]:
    """Medians over the steps that count: the parts, the whole step, its range."""
    steps = [
        {part: step[f"time/{part}"] for part in PARTS} for step in found["steps"][WARM_UP_STEPS:]
    ]
    whole = [sum(step.values()) for step in steps]
    return {part: median(step[part] for step in steps) for part in PARTS} | {
        "step": median(whole),
        "least": min(whole),
        "most": max(whole),
    }


def table(found: dict[str, dict[str, Any]], tokens_per_step: int) -> list[str]:
    """The Markdown table; Onecard's row is what the others are put beside. One that did not run has
    the reason in its row.
    """
    lines = [
        (
            "| | generates with | s/step (range) | generation | reward | training | tokens/s |"
            " while generating | peak GiB | s/step, to Onecard's | peak, to Onecard's |"
        ),
        "|" + "---|" * 11,
    ]
    ours = found["onecard"]
    for name, one in found.items():
        if "error" in one:
            reason = one["error"].replace("|", "\\|")
            lines.append(f"| {LABELS[name]} | did not run: `{reason}` |" + " |" * 9)
            continue
        m = middle(one)
        beside = (
            " | |"
            if "error" in ours
            else (
                f" {m['step'] / middle(ours)['step']:.2f} |"
                f" {one['peak_gib'] / ours['peak_gib']:.2f} |"
            )
        )
        parts = " | ".join(f"{m[part]:.3f}" for part in PARTS)
        lines.append(
            f"| {LABELS[name]} | {one['generates_with']} | {m['step']:.3f} ({m['least']:.3f} to"
            f" {m['most']:.3f}) | {parts} | {tokens_per_step / m['step']:,.0f} |"
            f" {tokens_per_step / m['generation']:,.0f} | {one['peak_gib']:.2f} |{beside}"
        )
    return lines


def notes(recipe: Recipe, found: dict[str, dict[str, Any]], cards: list[Card]) -> list[str]:
    """What was compared, on what, and what to know before believing it."""
    grpo = section_of(recipe)
    what = (
        f"{recipe.model.name}, {'4 bit' if recipe.model.load_in_4bit else '16 bit'}, LoRA rank"
        f" {recipe.lora.rank}; per step {grpo.prompts_per_step} prompts x {grpo.num_generations}"
        f" completions of exactly {grpo.max_completion_length} tokens, loss {grpo.loss_type}, beta"
        f" {grpo.beta:g}; medians, each for itself, of the steps {WARM_UP_STEPS + 1} to"
        f" {grpo.max_steps}."
    )
    on = (
        f"On {cards[0].name}, {cards[0].memory / GIB:.0f} GiB."
        if cards
        else "On a CPU: these numbers say nothing about a card."
    )
    memory = (
        "what the driver counts, while generating or training"
        if cards
        else "the process's largest resident set"
    )
    lines = [what, "", f"{on} Peak: {memory}. {', '.join(map(' '.join, versions().items()))}."]
    if recipe.model.fast_inference and not stock_uses_vllm(recipe):
        lines += [
            "",
            (
                "Stock TRL generates with transformers here: it can give vLLM a 4-bit model, but"
                " before each generation it merges the adapter into the 4-bit weights and hands"
                " vLLM the packed numbers without their scales (VLLMGeneration.sync_weights), so"
                " that the engine samples from other weights than are trained. With `--set"
                " model.load_in_4bit=false` all three use vLLM."
            ),
        ]
    for name, one in found.items():
        if one.get("drift") is not None:
            lines += [
                "",
                (
                    f"{LABELS[name]}: log-probabilities of engine and trainer {one['drift']:.4f}"
                    " nats apart, mean of all steps."
                ),
            ]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", help="a YAML file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value of the recipe; may be repeated",
    )
    args = parser.parse_args()
    return run_command(lambda: compare(args))


def compare(args: argparse.Namespace) -> int:
    cards = find_cards()
    default, small = (
        (ROOT / "recipes/gpu-smoke.yaml", ()) if cards else (ROOT / "recipes/tiny.yaml", SMALL)
    )
    recipe = load_recipe(args.recipe or default, [*(() if args.recipe else small), *args.set])
    check_card(cards, needed=recipe.model.fast_inference)
    recipe = for_bench(recipe)
    folder = ROOT / "runs" / f"bench-gpu-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True)
    write_yaml(folder / "recipe.yaml", recipe.resolved())
    print(f"everything goes to {folder.relative_to(ROOT)}/\nmaking the model", flush=True)
    if reason := run("model", folder).get("error"):
        raise RunFailed(f"the model could not be made: {reason}; see {folder / 'model.log'}")
    found = {}
    for name, label in LABELS.items():
        print(f"{label}: {section_of(recipe).max_steps} steps", flush=True)
        found[name] = run(name, folder)
    shutil.rmtree(folder / "model", ignore_errors=True)
    grpo = section_of(recipe)
    tokens_per_step = grpo.completions_per_step * grpo.max_completion_length
    lines = [
        "<!-- made by `make bench-gpu` -->",
        "",
        *table(found, tokens_per_step),
        "",
        *notes(recipe, found, cards),
    ]
    print("\n" + "\n".join(lines[2:]))
    if cards:
        write_atomic(ROOT / "docs/bench-gpu.md", "\n".join(lines) + "\n")
        print("\nwritten to docs/bench-gpu.md")
    return 1 if "error" in found["onecard"] else 0


if __name__ == "__main__":
    sys.exit(main())
