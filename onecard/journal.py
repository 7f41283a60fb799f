"""Writes every metric to metrics.jsonl and to TensorBoard alike."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from eval.results import scores
from onecard.files.formats import read_jsonl
from onecard.runs import Run
from onecard.types import EvalResult


class Journal:
    """A run's measurements by step. Step 0 is before training. `history`: the lines of
    metrics.jsonl, those of an interrupted run too.

    `step`: the step after which a resumed run goes on. TensorBoard is told to forget what it has of
    later ones.
    """

    def __init__(self, run: Run, step: int | None = None) -> None:
        self.file: Path = run.metrics
        self.history: list[dict[str, Any]] = read_jsonl(self.file) if step is not None else []
        self.tensorboard_folder = run.folder / "tensorboard"
        if step is None:  # nothing to go on from
            self.file.unlink(missing_ok=True)
            shutil.rmtree(self.tensorboard_folder, ignore_errors=True)
        self.writer = SummaryWriter(
            str(self.tensorboard_folder), purge_step=None if step is None else step + 1
        )
        if step is None:
            recipe = run.recipe.read_text(encoding="utf-8")
            self.writer.add_text("recipe", f"```yaml\n{recipe}\n```")

    def log(
        self, step: int, values: dict[str, float | None], trl: dict[str, Any] | None = None
    ) -> None:
        """One line of metrics.jsonl, one scalar per number. `trl`: TRL's own logs, which
        TensorBoard shows below train/.
        """
        numbers = {
            tag: value
            for tag, value in (trl or {}).items()
            if isinstance(value, int | float | None) and tag != "step"
        }
        for tag, value in (
            {f"train/{tag}": value for tag, value in numbers.items()} | values
        ).items():
            if value is not None:
                self.writer.add_scalar(tag, value, step)
        line = {"step": step} | {
            tag: value if value is None or math.isfinite(value) else None
            for tag, value in (numbers | values).items()
        }
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.history.append(line)
        self.writer.flush()

    def evaluation(self, step: int, results: list[EvalResult]) -> None:
        """Every benchmark's scores as eval/<benchmark>/... at `step`."""
        for r in results:
            found = scores(r)
            tags = (
                "accuracy",
                "flexible",
                "strict",
                "no_answer",
                "truncated",
                "step_by_step",
                "mean_tokens",
            )
            self.log(step, {f"eval/{r.benchmark}/{tag}": found[tag] for tag in tags})

    def text(self, step: int, tag: str, text: str) -> None:
        self.writer.add_text(tag, text, step)
        self.writer.flush()
