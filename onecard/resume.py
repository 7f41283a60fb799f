"""Goes on with an interrupted run from its newest checkpoint that verifies; what was written after
that one is taken back.
"""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from onecard.checkpoint import DAMAGED, METRICS, Checkpoint, newest_checkpoint
from onecard.files.atomic import clear_unfinished, write_atomic
from onecard.files.differences import differences, listed
from onecard.files.formats import write_json, write_yaml
from onecard.machine.packages import versions
from onecard.recipe import Recipe
from onecard.recipe_file import load_recipe
from onecard.runs import Run, environment, folder_of, lock_folder
from onecard.types import UserError

# What may differ with --resume-anyway: it decides what is told, kept or checked, or how long
# training goes on, and not what a step does.
HARMLESS = (
    "claim",
    "caveat",
    "anchor",
    "measured",
    "card_gb",
    "save",
    "health",
    "pilot",
    "grading.deadline_seconds",
    "eval.every_steps",
    "eval.dev_problems",
    "grpo.max_steps",
)


def facts_of(recipe: Recipe, data: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint belongs to: the recipe, the training problems (a hash of them), the
    packages.
    """
    return {"recipe": recipe.model_dump(mode="json"), "data": data, "versions": versions()}


def resume_run(
    recipe: Recipe,
    root: Path,
    name: str | None,
    facts: dict[str, Any],
    anyway: bool,
    say: Callable[[str], None],
) -> tuple[Run, Checkpoint | None]:
    """The run folder as it was when its newest checkpoint was kept, and that checkpoint; None where
    none was kept yet.

    Raises UserError where there is no run, where another process is at it, or with the list of what
    differs.
    """
    folder = folder_of(recipe, root, name)
    stored = folder / "recipe.resolved.yaml"
    if not stored.is_file():
        raise UserError(
            f"--resume: there is no run in {folder}; leave --resume out to begin one (remove the"
            " folder, if it is there), or name another with --name"
        )
    check_same(load_recipe(stored).model_dump(mode="json"), facts["recipe"], anyway, folder)
    run = Run(folder, lock_folder(folder), resumed=True)
    checkpoint = newest_checkpoint(run.checkpoints, say)
    if checkpoint:
        try:
            check_belongs(checkpoint, facts, anyway, say)
        except UserError:
            run.lock.close()
            raise
    elif damaged := sorted(folder.name for folder in run.checkpoints.glob(f"*{DAMAGED}")):
        run.lock.close()
        raise UserError(
            f"--resume: none of the checkpoints in {run.checkpoints} is whole; remove"
            f" {', '.join(damaged)} there to begin GRPO anew"
        )
    if checkpoint:
        stopped = (
            checkpoint.facts["ended_early"]
            and checkpoint.facts["recipe"]["health"] == facts["recipe"]["health"]
        )
        checkpoint = replace(checkpoint, last=stopped or checkpoint.step >= recipe.grpo.max_steps)
    forget_after(run, checkpoint)
    write_yaml(run.recipe, facts["recipe"])
    write_json(run.environment, environment() | {"resumed": resumptions(run, checkpoint)})
    if run.seconds_file.is_file():
        run.seconds = json.loads(run.seconds_file.read_text(encoding="utf-8"))
    return run, checkpoint


def check_belongs(
    checkpoint: Checkpoint, facts: dict[str, Any], anyway: bool, say: Callable[[str], None]
) -> None:
    """Raise UserError unless a checkpoint is of this recipe and these training problems; say so
    where packages are others.
    """
    check_same(checkpoint.facts["recipe"], facts["recipe"], anyway, checkpoint.folder)
    if other := differences(checkpoint.facts["data"], facts["data"]):
        raise UserError(
            f"--resume: the training problems are not those that {checkpoint.folder} was trained"
            f" on: {listed(other)}"
        )
    if other := differences(*of_both(checkpoint.facts["versions"], facts["versions"])):
        say(
            "other packages than before, so the rest may not be what it would have been:"
            f" {listed(other)}"
        )
    before, now = checkpoint.facts["recipe"]["grpo"], facts["recipe"]["grpo"]
    if before["max_steps"] != now["max_steps"] and not now["lr_scheduler_type"].startswith(
        "constant"
    ):
        say(
            f"grpo.max_steps was {before['max_steps']}; the learning rate goes on as if it had been"
            f" {now['max_steps']} from the start"
        )


def of_both(before: dict[str, Any], now: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What both sides name: an earlier Onecard kept the versions of fewer packages."""
    return {name: before[name] for name in before if name in now}, {
        name: now[name] for name in now if name in before
    }


def check_same(before: dict[str, Any], now: dict[str, Any], anyway: bool, where: Path) -> None:
    """Raise UserError with the keys that differ between two recipes, but for harmless ones with
    `anyway`.
    """
    differing = differences(before, now)
    harmful = [d for d in differing if not any(d.is_below(*key.split(".")) for key in HARMLESS)]
    remedy = (
        "begin another run with --name" if harmful else "--resume-anyway goes on with these changes"
    )
    if harmful or (differing and not anyway):
        raise UserError(
            f"--resume: the recipe is not the one of {where}: {listed(harmful or differing)};"
            f" {remedy}"
        )


def forget_after(run: Run, checkpoint: Checkpoint | None) -> None:
    """Take back what was written after the checkpoint, and what a killed process left
    half-written.
    """
    # that of step 0 too, since a harmless change may be one of `eval`
    step = checkpoint.step if checkpoint else -1
    evaluations = list((run.folder / "eval").glob("*"))
    later = [
        folder
        for folder in evaluations
        if (match := re.search(r"-step-(\d+)$", folder.name)) and int(match[1]) > step
    ]
    noted = (
        json.loads(run.environment.read_text(encoding="utf-8"))["packages"]
        if run.environment.is_file()
        else {}
    )
    if differences(*of_both(noted, versions())):
        later += [
            folder for folder in evaluations if not (folder / "result.json").is_file()
        ]  # nobody mixes two engines in one evaluation
    if not (checkpoint and checkpoint.last):
        later += [folder for folder in evaluations if folder.name.endswith("-after")]
    for folder in {*later, *([run.adapter] if run.adapter.exists() else [])}:
        shutil.rmtree(folder)
    clear_unfinished(run.folder)
    if checkpoint:
        write_atomic(run.metrics, (checkpoint.folder / METRICS).read_bytes())
        clear_unfinished(run.checkpoints)


def resumptions(run: Run, checkpoint: Checkpoint | None) -> list[dict[str, Any]]:
    """When and from which step the run was gone on with, this time included."""
    before = (
        json.loads(run.environment.read_text(encoding="utf-8")) if run.environment.is_file() else {}
    )
    now = environment()
    return [
        *before.get("resumed", []),
        {
            "started": now["started"],
            "commit": now["commit"],
            "step": checkpoint.step if checkpoint else 0,
        },
    ]
