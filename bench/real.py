"""What a real pretrained model learns on a laptop: make real REAL_MODEL=FOLDER, hours in all.

For each recipe and seed: the recipe itself (SFT, then GRPO), and SFT alone for as many seconds; of
one recipe also online rejection sampling in GRPO's place, with as many steps. Each is asked the
test split, greedily and with four samples a problem at temperature 1; so is the model as it comes.
A run that was interrupted goes on, and what is finished is not done again: it is in
docs/real-model/, one file a run, and docs/real-model.md is made of those files.

    python -m bench.real FOLDER                     all that is missing
    python -m bench.real FOLDER smollm2-svamp 0     one recipe, one seed
    python -m bench.real                            the table, from what is there
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.real_table import ALONE, GRPO, ONLINE_RFT, RECIPES, RFT, ROOT, SFT, text
from eval.record import read_result
from eval.scores import ACCURACIES, by_problem
from onecard.files.atomic import write_atomic
from onecard.files.formats import write_json
from onecard.machine.precision import choose_precision
from onecard.recipe.file import load_recipe

RESULTS = ROOT / "docs/real-model"
TABLE = ROOT / "docs/real-model.md"
DATA = ROOT.parent / "shared/data"  # else data/ or the hub, as the recipes say
SAMPLED = ("--samples", "4", "--temperature", "1")


def onecard(*command: str) -> None:
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)


def settings_of(recipe: str, model: str) -> list[str]:
    """What a recipe takes here, as --set takes it: the folders of the model and of its rows."""
    rows = DATA / recipe.removeprefix("smollm2-")
    return [f"model.name={model}", *([f"data.path={rows}"] if rows.is_dir() else [])]


def train(recipe: str, name: str, *settings: str) -> Path:
    """A run of a recipe in runs/<name>: begun, gone on with, or finished already."""
    folder = ROOT / "runs" / name
    if not (folder / "results.json").is_file():
        options = [part for setting in settings for part in ("--set", setting)]
        again = ["--resume"] if folder.is_dir() else []
        onecard("train.py", f"recipes/{recipe}.yaml", "--name", name, *options, *again)
    return folder


def ask(model: str, run: Path, out: Path, *options: str) -> Path:
    """The folder of an evaluation of a model, asked as a run asks its test split."""
    if not list(out.glob("*/result.json")):
        recipe = run / "recipe.resolved.yaml"
        limit = load_recipe(recipe).eval.limit
        as_many = ("--limit", str(limit)) if limit else ()
        asked = ("-m", "eval", model, "--recipe", str(recipe), "--out", str(out))
        onecard(*asked, *as_many, *options)
    (result,) = out.glob("*/result.json")
    return result.parent


def outcome(folder: Path) -> dict[str, Any]:
    """The share of right completions of each problem, and their mean length in tokens."""
    facts, result = read_result(folder)
    right = by_problem(result, ACCURACIES["accuracy"])
    flexible = by_problem(result, ACCURACIES["flexible"])
    tokens = round(facts["scores"]["mean_tokens"], 1)
    return {"right": right, "flexible": sum(flexible) / len(flexible), "tokens": tokens}


def results_of(run: Path) -> tuple[dict[str, Any], str]:
    """What a run's results.json says, and the name of its benchmark."""
    found = json.loads((run / "results.json").read_text(encoding="utf-8"))
    (benchmark,) = found["benchmarks"]
    return found, benchmark


def untrained(run: Path, model: str) -> dict[str, Any]:
    """The model as it comes, asked as a run asks."""
    return {
        "greedy": outcome(ask(model, run, run / "untrained-greedy")),
        "sampled": outcome(ask(model, run, run / "untrained-sampled", *SAMPLED)),
    }


def run_of(recipe: str, model: str, seed: int) -> dict[str, Any]:
    """The recipe itself: SFT, then GRPO; and how many steps SFT alone does in as many seconds."""
    run = train(recipe, f"real-{recipe}-{seed}", *settings_of(recipe, model), f"seed={seed}")
    found, benchmark = results_of(run)
    seconds = found["seconds"]
    sft = load_recipe(ROOT / f"recipes/{recipe}.yaml").sft
    assert sft is not None
    longer = sft.max_steps * (seconds["SFT"] + seconds["GRPO"]) / seconds["SFT"]
    return {
        "seconds": seconds,
        "peak_memory_gib": found["peak_memory_gib"],
        "precision": choose_precision([]),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
        "sft_steps": sft.max_steps,
        "sft_alone_steps": round(longer),
        SFT: {"greedy": outcome(run / f"eval/{benchmark}-before")},
        GRPO: {"greedy": outcome(run / f"eval/{benchmark}-after")},
    }


def sft_alone(recipe: str, model: str, seed: int, steps: int) -> dict[str, Any]:
    """SFT alone for as long. A run ends with GRPO: of this one, what is asked before it counts."""
    alone = train(
        recipe,
        f"real-{recipe}-{seed}-sft",
        *settings_of(recipe, model),
        f"seed={seed}",
        f"sft.max_steps={steps}",
        "grpo.max_steps=1",
        "pilot=0",
    )
    _, benchmark = results_of(alone)
    return {
        "greedy": outcome(alone / f"eval/{benchmark}-before"),
        "sampled": sampled(model, alone, "sft-adapter"),
    }


def online_rft(recipe: str, model: str, seed: int) -> dict[str, Any]:
    """Fine-tuning on the right ones of as many completions as GRPO samples, with its settings."""
    settings = (*settings_of(recipe, model), f"seed={seed}", "grpo.credit=accepted")
    run = train(recipe, f"real-{recipe}-{seed}-rft", *settings)
    found, benchmark = results_of(run)
    return {
        "seconds": found["seconds"],
        "precision": choose_precision([]),
        "greedy": outcome(run / f"eval/{benchmark}-after"),
        "sampled": sampled(model, run, "adapter"),
    }


def sampled(model: str, run: Path, adapter: str) -> dict[str, Any]:
    """Four samples of each problem at temperature 1, by one of a run's adapters."""
    out = run / f"sampled-{adapter}"
    return outcome(ask(model, run, out, "--adapter", str(run / adapter), *SAMPLED))


def main() -> None:
    model, *only = sys.argv[1:] or [""]
    RESULTS.mkdir(exist_ok=True)
    for recipe, seeds in RECIPES.items() if model else ():
        if only and recipe != only[0]:
            continue
        for seed in seeds:
            file = RESULTS / f"{recipe}-{seed}.json"
            if only[1:] and str(seed) != only[1]:
                continue
            found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
            if "sampled" not in found.get(GRPO, {}):
                found = run_of(recipe, model, seed)  # again, where its folder has been deleted
                write_json(file, found)  # to sample may take as long as the run
                run = ROOT / f"runs/real-{recipe}-{seed}"
                found[SFT]["sampled"] = sampled(model, run, "sft-adapter")
                found[GRPO]["sampled"] = sampled(model, run, "adapter")
                write_json(file, found)
            if ALONE not in found:
                found[ALONE] = sft_alone(recipe, model, seed, found["sft_alone_steps"])
                write_json(file, found)
            if recipe in ONLINE_RFT and RFT not in found:
                found[RFT] = online_rft(recipe, model, seed)
                write_json(file, found)
            first = RESULTS / f"{recipe}-untrained.json"
            if not first.is_file():
                write_json(first, untrained(ROOT / f"runs/real-{recipe}-{seed}", model))
            write_atomic(TABLE, text(RESULTS))
    write_atomic(TABLE, text(RESULTS))
    print(TABLE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
