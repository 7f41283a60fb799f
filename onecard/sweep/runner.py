"""Several runs of a recipe, one after another, each in a process of its own."""

import argparse
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onecard.console.command import RUNS
from onecard.console.display import Display
from onecard.console.stopping import SIGNALS
from onecard.files.yaml_lines import read_yaml
from onecard.recipe.file import load_recipe
from onecard.report.comparison import compare_runs
from onecard.run.folder import RECIPE, check_name
from onecard.run.process import processes
from onecard.run.resume import check_same
from onecard.sweep.grid import Variant, variants
from onecard.types import UserError

TRAIN = Path(__file__).parents[2] / "train.py"
FAILED = 1  # the exit code of a run that failed by itself: the others are run all the same


@dataclass(frozen=True)
class Asked:
    """What the command line says, for all runs alike."""

    recipe: str
    settings: Sequence[str]
    name: str | None
    resume: bool


def read_asked(args: argparse.Namespace) -> Asked:
    """What train.py's command line says. Raises UserError for what is about one run alone."""
    if args.plan or args.fit or args.resume_anyway:
        raise UserError(
            "--plan, --fit and --resume-anyway are for one run: leave --seeds and --sweep out"
        )
    return Asked(args.recipe, args.set, args.name, args.resume)


def run_all(asked: Asked, seeds: str | None, sweeps: Sequence[str], display: Display) -> int:
    """Run what is not finished yet, then compare all; the exit code.

    Raises UserError, before the first one begins, where any of the recipes is wrong, or where a
    folder is there already and nobody said --resume.
    """
    if processes() > 1:
        raise UserError("--seeds and --sweep start each run themselves: leave torchrun out")
    chosen = variants(seeds, sweeps)
    names = check_all(asked, chosen)
    finished = {name for name in names if (RUNS / name / "results.json").is_file()}
    failed = []
    for number, (name, variant) in enumerate(zip(names, chosen, strict=True), start=1):
        told = f"run {number} of {len(names)}: {' '.join(variant.settings)}"
        if name in finished:
            display.say(f"{told}: {RUNS / name} is finished")
            continue
        display.say(f"\n{told}")
        code = run_one(asked, name, variant)
        if code == FAILED:
            failed.append(name)
        elif code:
            return code
    whole = [RUNS / name for name in names if name not in failed]
    if whole:
        folder = RUNS / f"{base_name(asked)}-compared"
        display.console.print(compare_runs(whole, folder), soft_wrap=True)
    if failed:
        display.say(f"failed: {', '.join(failed)}; the same command with --resume tries again")
    return FAILED if failed else 0


def base_name(asked: Asked) -> str:
    name = asked.name or load_recipe(asked.recipe, list(asked.settings)).name
    return check_name(name)


def check_all(asked: Asked, chosen: Sequence[Variant]) -> list[str]:
    """The folder names of the runs. Raises UserError where one of them cannot be done."""
    base, names = base_name(asked), []
    for variant in chosen:
        name = check_name(f"{base}-{variant.name}")
        recipe = load_recipe(asked.recipe, [*asked.settings, *variant.settings])
        stored = RUNS / name / RECIPE
        if stored.is_file() and not asked.resume:
            raise UserError(
                f"{RUNS / name} exists already: add --resume to go on with these runs, or --name"
                " NAME to begin others"
            )
        if stored.is_file():
            check_same(read_yaml(stored)[0], recipe.resolved(), False, RUNS / name, None)
        names.append(name)
    return names


def run_one(asked: Asked, name: str, variant: Variant) -> int:
    """The exit code of a run. Signals are handed on to it: it keeps what it has, and ends."""
    settings = [part for one in (*asked.settings, *variant.settings) for part in ("--set", one)]
    again = ["--resume"] if (RUNS / name).is_dir() else []
    command = [sys.executable, str(TRAIN), asked.recipe, "--name", name, *settings, *again]
    # A group of its own: Ctrl-C on a terminal goes to this process alone, which hands it on.
    process = subprocess.Popen(command, process_group=0)
    with handed_on(process):
        code = process.wait()
    return code if code >= 0 else 128 - code


@contextmanager
def handed_on(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, lambda number, _: process.send_signal(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
