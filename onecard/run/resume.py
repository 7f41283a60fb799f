"""Goes on with an interrupted run from its newest checkpoint that verifies.

What was written after that checkpoint is taken back.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onecard.files.atomic import clear_unfinished, write_atomic
from onecard.files.differences import Difference, differences, listed
from onecard.files.formats import write_json, write_yaml
from onecard.files.yaml_lines import read_yaml
from onecard.machine.packages import versions
from onecard.run.checkpoint import DAMAGED, METRICS, Checkpoint, newest_checkpoint
from onecard.run.folder import EVALUATIONS, Run, environment, lock_folder
from onecard.run.process import is_first
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
# What --resume itself takes: a run that is made longer, or shorter.
LENGTH = ("grpo", "max_steps")


@dataclass(frozen=True)
class Resumed:
    """A run as it was when its newest checkpoint was kept.

    `origin` is what its checkpoints belong to. `stage` is the one in which the newest was kept;
    it and `checkpoint` are None where no step was kept yet.
    """

    run: Run
    origin: dict[str, Any]
    stage: str | None = None
    checkpoint: Checkpoint | None = None


def origin_of(recipe: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint belongs to: recipe, training problems (a hash of them), packages."""
    return {"recipe": recipe, "data": data, "versions": versions()}


def resume_run(
    folder: Path,
    origin: dict[str, Any],
    max_steps: Mapping[str, int],
    anyway: bool,
    say: Callable[[str], None],
) -> Resumed:
    """Open the run folder again.

    `origin` is what the command line asks for. `max_steps` has each stage of the recipe, in order.
    Raises UserError where there is no run, where another process is at it, or with the list of what
    differs.
    """
    stored = folder / "recipe.resolved.yaml"
    if not stored.is_file():
        raise UserError(
            f"--resume: there is no run in {folder}; leave --resume out to begin one (remove the"
            " folder, if it is there), or name another with --name"
        )
    check_same(read_yaml(stored)[0], origin["recipe"], anyway, folder)
    run = Run(folder, lock_folder(folder) if is_first() else None, resumed=True)
    try:
        stage, checkpoint = newest_of_stages(run, max_steps, say)
        if checkpoint:
            check_belongs(checkpoint, origin, anyway, say)
    except UserError:
        if run.lock:
            run.lock.close()
        raise
    if checkpoint and stage:
        same_health = checkpoint.origin["recipe"]["health"] == origin["recipe"]["health"]
        ended = checkpoint.origin["ended_early"] and same_health
        checkpoint = replace(checkpoint, last=ended or checkpoint.step >= max_steps[stage])
    if run.seconds_file.is_file():
        run.seconds = json.loads(run.seconds_file.read_text(encoding="utf-8"))
    if is_first():
        forget_after(run, checkpoint)
        write_yaml(run.recipe, origin["recipe"])
        write_json(run.environment, environment() | {"resumed": resumptions(run, checkpoint)})
    return Resumed(run, origin, stage, checkpoint)


def newest_of_stages(
    run: Run, stages: Mapping[str, int], say: Callable[[str], None]
) -> tuple[str | None, Checkpoint | None]:
    """The newest checkpoint of the last stage that has one.

    Raises UserError where there are some, and none is whole.
    """
    for stage in reversed(list(stages)):
        root = run.checkpoints(stage)
        if checkpoint := newest_checkpoint(root, say):
            return stage, checkpoint
        if damaged := sorted(folder.name for folder in root.glob(f"*{DAMAGED}")):
            raise UserError(
                f"--resume: none of the checkpoints in {root} is whole; remove"
                f" {', '.join(damaged)} there to begin {stage.upper()} anew"
            )
    return None, None


def check_belongs(
    checkpoint: Checkpoint, origin: dict[str, Any], anyway: bool, say: Callable[[str], None]
) -> None:
    """Raise UserError unless a checkpoint is of this recipe and these training problems.

    Other packages are told.
    """
    before = checkpoint.origin
    check_same(before["recipe"], origin["recipe"], anyway, checkpoint.folder)
    if other := differences(before["data"], origin["data"]):
        raise UserError(
            f"--resume: the training problems are not those that {checkpoint.folder} was trained"
            f" on: {listed(other)}"
        )
    if other := changed_versions(before["versions"]):
        say(
            "other packages than before, so the rest may not be what it would have been:"
            f" {listed(other)}"
        )
    then, now = before["recipe"]["grpo"], origin["recipe"]["grpo"]
    if then["max_steps"] != now["max_steps"]:
        how = f"as if it had been {now['max_steps']} from the start"
        if now["lr_scheduler_type"].startswith("constant"):
            how = "as it was: it is constant"
        say(f"grpo.max_steps was {then['max_steps']}; the learning rate goes on {how}")


def changed_versions(before: dict[str, str]) -> list[Difference]:
    """The packages that were noted, are here too, and have another version."""
    here = versions()
    both = before.keys() & here.keys()
    return differences(
        {name: before[name] for name in sorted(both)}, {name: here[name] for name in sorted(both)}
    )


def check_same(before: dict[str, Any], now: dict[str, Any], anyway: bool, where: Path) -> None:
    """Raise UserError with the keys that differ between two recipes.

    With `anyway` the harmless ones may.
    """
    differing = [one for one in differences(before, now) if not one.is_below(*LENGTH)]
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


def forget_after(run: Run, checkpoint: Checkpoint | None) -> None:
    """Take back what was written after the checkpoint, and what a kill left half-written.

    A checkpoint of SFT has no metrics: those begin with GRPO.
    """
    metrics = checkpoint.folder / METRICS if checkpoint else None
    measured = metrics is not None and metrics.is_file()
    # Without metrics step 0 is taken back too, since a harmless change may be one of `eval`.
    step = checkpoint.step if checkpoint and measured else -1
    finished = checkpoint is not None and measured and checkpoint.last
    # Nobody mixes two engines in one evaluation.
    other_packages = bool(changed_versions(noted_environment(run).get("packages", {})))
    for folder in list((run.folder / EVALUATIONS).glob("*")):
        match = re.search(r"-step-(\d+)$", folder.name)
        is_later = match is not None and int(match[1]) > step
        is_after = folder.name.endswith("-after") and not finished
        is_mixed = other_packages and not (folder / "result.json").is_file()
        if is_later or is_after or is_mixed:
            shutil.rmtree(folder)
    if run.adapter.exists():
        shutil.rmtree(run.adapter)
    clear_unfinished(run.folder)
    for root in (run.folder / "checkpoints").glob("*"):
        clear_unfinished(root)
    if metrics and measured:
        write_atomic(run.metrics, metrics.read_bytes())


def noted_environment(run: Run) -> dict[str, Any]:
    """What environment.json says; {} where there is none."""
    if not run.environment.is_file():
        return {}
    noted: dict[str, Any] = json.loads(run.environment.read_text(encoding="utf-8"))
    return noted


def resumptions(run: Run, checkpoint: Checkpoint | None) -> list[dict[str, Any]]:
    """When and from which step the run was gone on with, this time included."""
    now = environment()
    this_time = {
        "started": now["started"],
        "commit": now["commit"],
        "step": checkpoint.step if checkpoint else 0,
    }
    return [*noted_environment(run).get("resumed", []), this_time]
