"""Writes every metric to metrics.jsonl and to TensorBoard alike."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onecard.files.atomic import write_atomic
from onecard.files.formats import read_jsonl
from onecard.run.folder import Run
from onecard.run.process import is_first
from onecard.run.round import groups_file

EVALUATED = (
    "accuracy",
    "flexible",
    "strict",
    "no_answer",
    "truncated",
    "step_by_step",
    "mean_tokens",
)


class Journal:
    """The measurements of a run's last stage by step; step 0 is before it. Or of another stage.

    `history`: the lines of metrics.jsonl, those of an interrupted run too. `step`: the step after
    which a resumed run goes on; TensorBoard is told to forget what it has of later ones. `stage`:
    one before the last; it has a file of its own, and steps of its own in TensorBoard.
    """

    def __init__(self, run: Run, step: int | None = None, stage: str | None = None) -> None:
        self.file: Path = run.folder / f"{stage}.jsonl" if stage else run.metrics
        self.history: list[dict[str, Any]] = read_jsonl(self.file) if step is not None else []
        self.groups_file, self.shown = run.folder / groups_file(stage), run.completions
        self.writer: Any = None  # in the first process alone
        if not is_first():
            return
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard" / (stage or "")
        if step is None:  # nothing to go on from
            self.file.unlink(missing_ok=True)
            self.groups_file.unlink(missing_ok=True)
            for events in folder.glob("events.*"):
                events.unlink()
            self.writer = SummaryWriter(str(folder))
            if stage is None:
                recipe = run.recipe.read_text(encoding="utf-8")
                self.writer.add_text("recipe", f"```yaml\n{recipe}\n```")
        else:
            self.writer = SummaryWriter(str(folder), purge_step=step + 1)

    def log(
        self, step: int, values: Mapping[str, float | None], trl: Mapping[str, Any] | None = None
    ) -> None:
        """One line of metrics.jsonl, one scalar per number.

        `trl`: TRL's own logs, which TensorBoard shows below train/.
        """
        numbers = {}
        for tag, value in (trl or {}).items():
            if tag != "step" and isinstance(value, int | float | None):
                numbers[tag] = value
        line: dict[str, Any] = {"step": step}
        for tag, value in (numbers | dict(values)).items():
            line[tag] = value if value is None or math.isfinite(value) else None
        self.history.append(line)
        if not is_first():
            return
        shown = {f"train/{tag}": value for tag, value in numbers.items()} | dict(values)
        for tag, value in shown.items():
            if value is not None:
                self.writer.add_scalar(tag, value, step)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.writer.flush()

    def evaluation(self, step: int, scores: Mapping[str, Mapping[str, Any]]) -> None:
        """The scores of each benchmark as eval/<benchmark>/... at `step`."""
        for benchmark, found in scores.items():
            self.log(step, {f"eval/{benchmark}/{tag}": found[tag] for tag in EVALUATED})

    def content(self) -> bytes | None:
        """What the file says, for a checkpoint; None but in the first process, which writes it."""
        return self.file.read_bytes() if is_first() else None

    def groups(self, step: int, groups: list[list[Any]]) -> None:
        """Of each group of a step its problem, and how many completions were right, of how many."""
        if is_first():
            with self.groups_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "groups": groups}) + "\n")

    def newest(self, step: int, completions: list[dict[str, Any]]) -> None:
        """Some completions of a step, in place of an earlier step's: for whoever watches."""
        if is_first():
            text = json.dumps({"step": step, "completions": completions}) + "\n"
            write_atomic(self.shown, text, lasting=False)  # at every step

    def text(self, step: int, tag: str, text: str) -> None:
        if is_first():
            self.writer.add_text(tag, text, step)
            self.writer.flush()

    def histogram(self, step: int, tag: str, values: Any) -> None:
        """`values`: an array of numbers."""
        if is_first():
            self.writer.add_histogram(tag, values, step)
            self.writer.flush()
