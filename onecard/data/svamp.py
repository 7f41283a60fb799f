"""SVAMP (Patel et al. 2021): 1,000 word problems of another kind than GSM8K's."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onecard.data.rows import Reading, read_rows
from onecard.files import hub
from onecard.types import Problem, UserError
from rewards.answer.section import AnswerKind


@dataclass(frozen=True)
class Svamp:
    """SVAMP in a folder, or else on the hub. Its only split is `all`."""

    path: str
    hub_id: str | None = None
    dev_benchmark: str = "svamp"
    train_problems: int | None = None
    kind: AnswerKind = "number"

    @property
    def folder(self) -> Path:
        return Path(self.path)

    def load(self, split: str) -> list[Problem]:
        """Its one file of 1,000 rows, or the hub's two splits together, in order of their numbers.

        Body and question are joined by a space, as Kojima et al. 2022 do (Large Language Models are
        Zero-Shot Reasoners).
        """
        rows = self.read()
        try:
            rows.sort(key=lambda row: int(row["ID"].removeprefix("chal-")))
            problems = [
                {
                    "question": f"{row['Body'].strip()} {row['Question'].strip()}",
                    "answer": f"{float(row['Answer']):.6f}".rstrip("0").rstrip("."),
                }
                for row in rows
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{self.path}: not SVAMP's rows (ID chal-N, Body, Question, Answer): {error!r}"
            ) from None
        return read_rows(problems, self.path, Reading(self.kind))

    def read(self) -> list[Any]:
        file = self.folder / "SVAMP.json"
        if not file.is_file():
            if self.hub_id is None:
                raise UserError(f"no file {file}")
            splits = [hub.load_rows(self.hub_id, None, split) for split in ("train", "test")]
            return [row for rows in splits for row in rows]
        try:
            rows: list[Any] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{file}: not JSON: {error}") from None
        return rows
