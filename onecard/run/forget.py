"""Takes back what an interrupted run wrote after what it kept."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from onecard.files.atomic import clear_unfinished, write_atomic
from onecard.files.differences import Difference, differences
from onecard.machine.packages import versions
from onecard.run.checkpoint import METRICS
from onecard.run.folder import EVALUATIONS, Run, environment
from onecard.run.resumed import Resumed


def forget_after(resumed: Resumed) -> None:
    """Take back what was written after what was kept, and what a kill left half-written."""
    run, checkpoint = resumed.run, resumed.checkpoint
    # Before the last stage nothing is evaluated. Then step 0 is taken back too, since a harmless
    # change may be one of `eval`.
    done = resumed.last_stage_steps
    step = -1 if done is None else done
    in_it = resumed.round is not None and resumed.round.of_last_stage
    finished = in_it and checkpoint is not None and checkpoint.last
    # Nobody mixes two engines in one evaluation.
    other_packages = bool(changed_versions(noted_environment(run).get("packages", {})))
    for folder in list((run.folder / EVALUATIONS).glob("*")):
        match = re.search(r"-step-(\d+)$", folder.name)
        is_later = match is not None and int(match[1]) > step
        is_after = folder.name.endswith("-after") and not finished
        is_mixed = other_packages and not (folder / "result.json").is_file()
        if is_later or is_after or is_mixed:
            shutil.rmtree(folder)
    for name in ("results.json", "report.md", "report.html") if not finished else ():
        (run.folder / name).unlink(missing_ok=True)
    if run.adapter.exists():
        shutil.rmtree(run.adapter)
    clear_unfinished(run.folder)
    for root in (run.folder / "checkpoints").glob("*"):
        clear_unfinished(root)
    forget_metrics(resumed)


def forget_metrics(resumed: Resumed) -> None:
    """Take back what was measured in each stage after what was kept of it.

    Not of the newest one alone: a reward model is renewed between the rounds of another stage.
    """
    newest, checkpoint = resumed.round, resumed.checkpoint
    if newest is None:
        return
    kept = {(one.metrics, one.groups): one.steps_after for one in resumed.before}
    kept[newest.metrics, newest.groups] = resumed.steps
    for files, steps in kept.items():
        for name in files:
            forget_lines(resumed.run.folder / name, steps)
    if checkpoint and (checkpoint.folder / METRICS).is_file():
        file = resumed.run.folder / newest.metrics
        write_atomic(file, (checkpoint.folder / METRICS).read_bytes())


def forget_lines(file: Path, step: int) -> None:
    """Of a file of JSON lines keep those up to a step."""
    if not file.is_file():
        return
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]  # a kill may cut the last one
    write_atomic(file, "".join(line for line in whole if json.loads(line)["step"] <= step))


def noted_environment(run: Run) -> dict[str, Any]:
    """What environment.json says; {} where there is none."""
    if not run.environment.is_file():
        return {}
    noted: dict[str, Any] = json.loads(run.environment.read_text(encoding="utf-8"))
    return noted


def resumptions(resumed: Resumed) -> list[dict[str, Any]]:
    """When and from which step the run was gone on with, this time included."""
    now = environment()
    this_time = {
        "started": now["started"],
        "commit": now["commit"],
        "round": resumed.round.label if resumed.round else None,
        "step": resumed.steps,
    }
    return [*noted_environment(resumed.run).get("resumed", []), this_time]


def changed_versions(before: dict[str, str]) -> list[Difference]:
    """The packages that were noted, are here too, and have another version."""
    here = versions()
    both = before.keys() & here.keys()
    return differences(
        {name: before[name] for name in sorted(both)}, {name: here[name] for name in sorted(both)}
    )
