"""Several runs of a recipe, one after another, each in a process of its own."""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onecard.console.command import RUNS
from onecard.console.display import Display
from onecard.console.stopping import SIGNALS
from onecard.files.yaml_lines import read_yaml
from onecard.recipe.file import load_recipe
from onecard.recipe.schema import Recipe
from onecard.report.comparison import compare_runs
from onecard.run.folder import RECIPE, check_name
from onecard.run.process import processes
from onecard.run.resume import check_same, may_change
from onecard.sweep.grid import Variant, variants
from onecard.types import LONGEST_NAME, UserError
from rewards.sandbox.walls import kernel

TRAIN = Path(__file__).parents[2] / "train.py"


@dataclass(frozen=True)
class Asked:
    """What the command line says, for all runs alike."""

    recipe: str
    settings: Sequence[str]
    name: str | None
    seeds: str | None
    sweeps: Sequence[str]
    resume: bool = False
    anyway: bool = False


@dataclass(frozen=True)
class Planned:
    """One of the runs. `begun`: its folder is there; `finished`: and there is nothing to do."""

    name: str
    settings: tuple[str, ...]
    begun: bool
    finished: bool


def read_asked(args: argparse.Namespace) -> Asked:
    """What train.py's command line says. Raises UserError for what is about one run alone."""
    if args.plan or args.fit:
        raise UserError("--plan and --fit are for one run: leave --seeds and --sweep out")
    resume = args.resume or args.resume_anyway
    lists = (args.seeds, args.sweep)
    return Asked(args.recipe, args.set, args.name, *lists, resume, args.resume_anyway)


def run_all(asked: Asked, display: Display, check: Callable[[Recipe], object]) -> int:
    """Run what is not finished yet, then compare what is; the exit code.

    `check` raises UserError where a recipe's model, data or rewards are not there. So does this,
    before the first run begins, where anything is wrong with any of them, or where a folder is
    there already and nobody said --resume.
    """
    if processes() > 1:
        raise UserError("--seeds and --sweep start each run themselves: leave torchrun out")
    planned = plan_runs(asked, check)
    failed = []
    for number, one in enumerate(planned, start=1):
        told = f"run {number} of {len(planned)}: {' '.join(one.settings)}"
        if one.finished:
            display.say(f"{told}: {RUNS / one.name} is finished")
            continue
        display.say(f"\n{told}")
        process = start(asked, one)
        with handed_on(process) as heard:
            code = process.wait()
        if heard:
            return 128 + heard[0]
        if code:
            failed.append(one.name)
    whole = [RUNS / one.name for one in planned if one.name not in failed]
    if failed:
        display.say(f"\nfailed, and so not compared: {', '.join(failed)}")
    if whole:
        folder = RUNS / f"{base_name(asked)}-compared"
        display.console.print(compare_runs(whole, folder), soft_wrap=True)
    if failed:
        display.say("the same command with --resume tries again what failed")
    return 1 if failed else 0


def base_name(asked: Asked) -> str:
    name = asked.name or load_recipe(asked.recipe, list(asked.settings)).name
    return check_name(name)


def plan_runs(asked: Asked, check: Callable[[Recipe], object]) -> list[Planned]:
    """All runs, in their order. Raises UserError where one of them cannot be done."""
    base, planned = base_name(asked), []
    recipes: dict[str, str] = {}  # what each one says, and which run that is
    every = []
    for variant in variants(asked.seeds, asked.sweeps):
        name = name_of(base, variant)
        recipe = load_recipe(asked.recipe, [*asked.settings, *variant.settings])
        every.append(recipe)
        text = json.dumps(recipe.resolved(), sort_keys=True)
        if text in recipes:
            raise UserError(f"{recipes[text]} and {name} would be the same run: change a value")
        recipes[text] = name
        stored = RUNS / name / RECIPE
        begun = stored.is_file()
        if begun and not asked.resume:
            raise UserError(
                f"{RUNS / name} exists already: add --resume to go on with these runs, or --name"
                " NAME to begin others"
            )
        same = begun and is_same(stored, recipe, asked.anyway)
        # The report is written last.
        finished = same and (RUNS / name / "report.html").is_file()
        if not finished:
            check(recipe)
        planned.append(Planned(name, variant.settings, begun, finished))
    check_comparable(every)
    return planned


def name_of(base: str, variant: Variant) -> str:
    name = f"{base}-{variant.name}"
    if len(name) > LONGEST_NAME:
        raise UserError(
            f"a run would be called {name}, which is too long for a folder: vary fewer keys at"
            " once, or take a shorter --name"
        )
    return check_name(name)


def check_comparable(recipes: Sequence[Recipe]) -> None:
    """Raises UserError where the runs would be asked so differently that nothing compares."""
    limits = {one.eval.limit for one in recipes}
    if len(limits) > 1:
        raise UserError("eval.limit: the runs would be asked different problems, and not compare")
    if not set.intersection(*(set(one.eval.benchmarks) for one in recipes)):
        raise UserError("eval.benchmarks: there is none that all runs would be asked")


def is_same(stored: Path, recipe: Recipe, anyway: bool) -> bool:
    """Whether a run's recipe has not been changed. Raises UserError where it must not be."""
    before, now = read_yaml(stored)[0], recipe.resolved()
    check_same(before, now, anyway, stored.parent, may_change(recipe.all_rounds))
    return bool(before == now)


def start(asked: Asked, one: Planned) -> "subprocess.Popen[bytes]":
    settings = [part for s in (*asked.settings, *one.settings) for part in ("--set", s)]
    again = ["--resume-anyway" if asked.anyway else "--resume"] if one.begun else []
    command = [sys.executable, str(TRAIN), asked.recipe, "--name", one.name, *settings, *again]
    # A group of its own: Ctrl-C on a terminal goes to this process alone, which hands it on.
    return subprocess.Popen(command, process_group=0, preexec_fn=end_with_parent)


def end_with_parent() -> None:
    """In the run: where the process that started it is killed, it keeps what it has, and ends."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def handed_on(process: "subprocess.Popen[bytes]") -> Iterator[list[int]]:
    """Signals go to the run, which keeps what it has and ends; those that came are in the list."""
    heard: list[int] = []

    def hand_on(number: int, _: object) -> None:
        heard.append(number)
        process.send_signal(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if number != signal.SIGHUP or before[number] != signal.SIG_IGN:  # nohup means it
            signal.signal(number, hand_on)
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
