"""What helps, and what does not? `make experiments` asks it of the tiny model: hours in all.

recipes/experiments/ says what is asked: each experiment has arms, and each arm is a few changes of
one recipe. Every arm is run with three seeds, from a model that SFT with the same seed has made.
A run that was interrupted goes on, and what is finished is not done again: it is in
docs/experiments/, one file a run. docs/experiments.md is made of those files.

    python -m bench.experiments             all that is missing
    python -m bench.experiments kl          one experiment
    python -m bench.experiments --page      the page, from what is there
"""

import argparse
import json
from dataclasses import replace
from typing import Any

import yaml

from bench.alarms import told
from bench.experiments_page import (
    FOLDER,
    PAGE,
    RESULTS,
    ROOT,
    Experiment,
    load_experiments,
    write_page,
)
from bench.real import ask, outcome, train
from onecard.data.prompts import target_for
from onecard.data.synthetic import Synthetic
from onecard.files.formats import write_json, write_jsonl
from onecard.report.reading import read_rankers
from rewards.answer.section import Answer

SEEDS = (0, 1, 2)
SAMPLED = ("--samples", "4", "--temperature", "1", "--limit", "128")
PAIRS = ROOT / "runs/experiment-pairs.jsonl"
NOT_LEARNING = {"import", "model", "pilot", "evaluation before", "evaluation after", "total"}


def start(seed: int) -> str:
    """The model that the arms of a seed start from: two ways to answer, one of them good."""
    settings = ("grpo.max_steps=1", "pilot=0", "eval.benchmarks=[tiny]", "eval.limit=8")
    folder = train("tiny", f"experiment-start-{seed}", f"seed={seed}", *settings)
    return str(folder / "base-model")


def write_pairs() -> None:
    """Pairs for a reward model that will be hacked.

    What is chosen is right and stated at once; what is rejected is wrong and worked out step by
    step. So it learns to tell them apart, and learns nothing about being right.
    """
    rows = []
    for problem in Synthetic(1500).load("train"):
        if "=" not in problem.solution:
            continue
        at_once = f"{problem.question.partition('.')[0]}."  # Ann has 5 books.
        wrong = str(int(problem.gold) + 1)
        sides = replace(problem, solution=at_once), replace(problem, gold=wrong)
        chosen, rejected = (target_for(side, Answer().format) for side in sides)
        rows.append({"question": problem.question, "chosen": chosen, "rejected": rejected})
    write_jsonl(PAIRS, rows)


def measure(arm: str, changes: list[str], seed: int) -> dict[str, Any]:
    """One run of an arm: what it became able to do, what it took, what health told."""
    model = start(seed)
    settings = [change.replace("PAIRS", str(PAIRS)) for change in changes]
    here = (f"model.name={model}", f"seed={seed}", *settings)
    run = train("experiments/grpo", f"experiment-{arm}-{seed}", *here)
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    seconds = results["seconds"]
    adapter = ("--adapter", str(run / "adapter"))
    rankers = list(read_rankers(run).values())
    return {
        "greedy": outcome(run / "eval/tiny-after"),
        "sampled": outcome(ask(model, run, run / "sampled", *adapter, *SAMPLED)),
        "seconds": round(sum(seconds[phase] for phase in seconds.keys() - NOT_LEARNING)),
        "alarms": sorted(told(run)) if (run / "health.jsonl").is_file() else [],  # GRPO's alone
        "ranking": rankers[-1]["ranking"] if rankers else None,
    }


def main() -> None:
    experiments = load_experiments()
    parser = argparse.ArgumentParser(prog="python -m bench.experiments")
    names = [one.name for one in experiments]
    parser.add_argument("experiment", nargs="?", choices=names, help="(default: all)")
    parser.add_argument("--page", action="store_true", help="only the page, from what is there")
    args = parser.parse_args()
    only = args.experiment
    changes = yaml.safe_load((FOLDER / "arms.yaml").read_text(encoding="utf-8"))
    asked: list[Experiment] = [
        one for one in experiments if only in (None, one.name) and not args.page
    ]
    arms = dict.fromkeys(arm for one in asked for arm in one.arms)
    RESULTS.mkdir(exist_ok=True)
    if asked:
        PAIRS.parent.mkdir(exist_ok=True)
        write_pairs()
    for seed in SEEDS:
        for arm in arms:
            file = RESULTS / f"{arm}-{seed}.json"
            if not file.is_file():
                write_json(file, measure(arm, changes[arm], seed))
                write_page(experiments)
    write_page(experiments)
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
