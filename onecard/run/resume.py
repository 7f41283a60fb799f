"""Goes on with an interrupted run from its newest checkpoint that verifies.

What was written after that checkpoint is taken back.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from onecard.files.differences import Difference, differences, listed
from onecard.files.formats import write_json, write_yaml
from onecard.files.yaml_lines import read_yaml
from onecard.machine.packages import versions
from onecard.run.checkpoint import DAMAGED, Checkpoint, newest_checkpoint
from onecard.run.folder import Run, environment
from onecard.run.forget import changed_versions, forget_after, resumptions
from onecard.run.lock import lock_folder
from onecard.run.process import is_first, processes
from onecard.run.resumed import Resumed
from onecard.run.round import Round
from onecard.types import UserError

# What may differ with --resume-anyway: it decides what is told, kept or checked, or how long
# training goes on, and not what a step does.
HARMLESS = (
    ("claim",),
    ("caveat",),
    ("anchor",),
    ("measured",),
    ("card_gb",),
    ("save",),
    ("health",),
    ("pilot",),
    ("scoring", "deadline_seconds"),
    ("eval", "every_steps"),
    ("eval", "dev_problems"),
)


def origin_of(recipe: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint belongs to: recipe, training problems (a hash of them), packages.

    And how many processes there are: each takes a share of a step's completions.
    """
    origin = {"recipe": recipe, "data": data, "versions": versions()}
    return origin | {"processes": processes()}


def resume_run(
    folder: Path,
    origin: dict[str, Any],
    rounds: Sequence[Round],
    anyway: bool,
    say: Callable[[str], None],
) -> Resumed:
    """Open the run folder again.

    `origin` is what the command line asks for, and `rounds` what its recipe does, in order. Raises
    UserError where there is no run, where another process is at it, or with the list of what
    differs.
    """
    stored = folder / "recipe.resolved.yaml"
    if not stored.is_file():
        raise UserError(
            f"--resume: there is no run in {folder}; leave --resume out to begin one (remove the"
            " folder, if it is there), or name another with --name"
        )
    length = may_change(rounds)
    check_same(read_yaml(stored)[0], origin["recipe"], anyway, folder, length)
    run = Run(folder, lock_folder(folder) if is_first() else None, resumed=True)
    try:
        newest, checkpoint = newest_of_rounds(run, rounds, say)
        if checkpoint:
            check_belongs(checkpoint, origin, anyway, say, length)
    except UserError:
        if run.lock:
            run.lock.close()
        raise
    if checkpoint and newest:
        same_health = checkpoint.origin["recipe"]["health"] == origin["recipe"]["health"]
        ended = checkpoint.origin["ended_early"] and same_health
        checkpoint = replace(checkpoint, last=ended or checkpoint.step >= newest.max_steps)
    if run.seconds_file.is_file():
        run.seconds = json.loads(run.seconds_file.read_text(encoding="utf-8"))
    before = tuple(rounds[: list(rounds).index(newest)]) if newest else ()
    resumed = Resumed(run, origin, newest, checkpoint, before)
    if is_first():
        forget_after(resumed)
        write_yaml(run.recipe, origin["recipe"])
        write_json(run.environment, environment() | {"resumed": resumptions(resumed)})
    return resumed


def may_change(rounds: Sequence[Round]) -> tuple[str, str] | None:
    """The key that --resume itself takes another value of: a run that is made longer, or shorter.

    With several rounds there is none: the later ones would begin elsewhere. Nor has a reward model,
    whose checkpoints are gone when it is judged.
    """
    last = rounds[-1]
    longer = last.of == 1 and last.stage != "reward_model"
    return (last.stage, "max_steps") if longer else None


def newest_of_rounds(
    run: Run, rounds: Sequence[Round], say: Callable[[str], None]
) -> tuple[Round | None, Checkpoint | None]:
    """The last round of which something was kept, and its newest checkpoint.

    None in its place: the round was finished. Raises UserError where there are checkpoints, and
    none is whole.
    """
    for one in reversed(rounds):
        root = run.checkpoints(one.label)
        if run.is_done(one.label):  # a kill may have left its checkpoints
            return one, None
        if checkpoint := newest_checkpoint(root, say, is_first()):
            return one, checkpoint
        if damaged := sorted(folder.name for folder in root.glob(f"*{DAMAGED}")):
            raise UserError(
                f"--resume: none of the checkpoints in {root} is whole; remove"
                f" {', '.join(damaged)} there to begin {one.title} anew"
            )
    return None, None


def check_belongs(
    checkpoint: Checkpoint,
    origin: dict[str, Any],
    anyway: bool,
    say: Callable[[str], None],
    length: tuple[str, str] | None,
) -> None:
    """Raise UserError unless a checkpoint is of this recipe and these training problems.

    Other packages are told.
    """
    before = checkpoint.origin
    check_same(before["recipe"], origin["recipe"], anyway, checkpoint.folder, length)
    if other := differences(before["data"], origin["data"]):
        raise UserError(
            f"--resume: the training problems are not those that {checkpoint.folder} was trained"
            f" on: {listed(other)}"
        )
    if before["processes"] != origin["processes"]:
        raise UserError(
            f"--resume: {checkpoint.folder} was trained by {before['processes']} processes, and"
            f" this run has {origin['processes']}; start as many"
        )
    if other := changed_versions(before["versions"]):
        say(
            "other packages than before, so the rest may not be what it would have been:"
            f" {listed(other)}"
        )
    if length is None:
        return
    stage, key = length
    then, now = before["recipe"][stage], origin["recipe"][stage]
    if then[key] != now[key]:
        how = f"as if it had been {now[key]} from the start"
        if now.get("lr_scheduler_type", "linear").startswith("constant"):
            how = "as it was: it is constant"
        say(f"{stage}.{key} was {then[key]}; the learning rate goes on {how}")


def check_same(
    before: dict[str, Any],
    now: dict[str, Any],
    anyway: bool,
    where: Path,
    length: tuple[str, str] | None,
) -> None:
    """Raise UserError with the keys that differ between two recipes.

    `length` may. With `anyway` the harmless ones may, too.
    """
    differing = differences(before, now)
    if length:
        differing = [one for one in differing if not one.is_below(*length)]
    harmful = [difference for difference in differing if not is_harmless(difference)]
    if not differing or (anyway and not harmful):
        return
    remedy = "--resume-anyway goes on with these changes"
    if harmful:
        remedy = "begin another run with --name"
    raise UserError(
        f"--resume: the recipe is not the one of {where}: {listed(harmful or differing)}; {remedy}"
    )


def is_harmless(difference: Difference) -> bool:
    return any(difference.is_below(*key) for key in HARMLESS)
