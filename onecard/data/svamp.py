"""SVAMP (Patel et al. 2021): 1,000 word problems of another kind than GSM8K's."""

import json
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from onecard.data.rows import PLAIN, Reading, read_rows
from onecard.files import hub
from onecard.types import Problem, UserError
from rewards.answer.section import AnswerKind

FILE = "SVAMP.json"
HUB_ID = "ChilleD/SVAMP"
# The numbers of the rows of each split: SVAMP itself has one file. Neighbours are variations of one
# problem, so that a split is a run of numbers, and nothing is learned of the test split's.
SPLITS = {"all": (1, 1000), "train": (1, 600), "dev": (601, 700), "test": (701, 1000)}
OPERATORS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
NUMBER = r"-?\d+(?:\.\d+)?"
PART = re.compile(rf"\( ({NUMBER}) ([-+*/]) ({NUMBER}) \)")  # of an equation


@dataclass(frozen=True)
class Svamp:
    """SVAMP in a folder, or else on the hub."""

    path: str
    hub_id: str | None = None
    reading: Reading = PLAIN
    dev_benchmark: str = "dev"
    train_problems: int | None = None

    @property
    def kind(self) -> AnswerKind:
        return self.reading.kind or "number"

    @property
    def folder(self) -> Path:
        return Path(self.path)

    def load(self, split: str) -> list[Problem]:
        """A split, in the order of its numbers. `all`, a benchmark, has no further columns."""
        first, last = SPLITS[split]
        rows = [row for row in self.rows if first <= row["id"] <= last]
        if split == "all":
            rows = [{name: row[name] for name in ("id", "question", "answer")} for row in rows]
        return read_rows(rows, self.path, replace(self.reading, kind=self.kind))

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Its rows by their numbers, with the columns that a problem has beside its own.

        Body and question are joined by a space, as Kojima et al. 2022 do (Large Language Models are
        Zero-Shot Reasoners). The equation, step by step, is the worked solution; not so where it
        does not give the answer, as in row 680.
        """
        try:
            rows = [
                row
                | {
                    "id": int(row["ID"].removeprefix("chal-")),
                    "question": f"{row['Body'].strip()} {row['Question'].strip()}",
                    "answer": plain(row["Answer"]),
                    "solution": worked(row["Equation"], plain(row["Answer"])),
                }
                for row in self.read()
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{self.path}: not SVAMP's rows (ID chal-N, Body, Question, Equation, Answer):"
                f" {error!r}"
            ) from None
        return sorted(rows, key=lambda row: row["id"])

    def read(self) -> list[Any]:
        """Its one file of 1,000 rows, or the hub's two splits together."""
        file = self.folder / FILE
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


def worked(equation: str, answer: str) -> str:
    """An equation as steps of two numbers, a line each.

    ( ( 9.0 + 62.0 ) + 140.0 ) is 9 + 62 = 71 and 71 + 140 = 211. "" where the last step does not
    give the answer.
    """
    rest, steps = equation.strip(), []
    while part := PART.search(rest):
        one, sign, other = part.groups()
        result = plain(OPERATORS[sign](Fraction(one), Fraction(other)))
        steps.append(f"{plain(one)} {sign} {plain(other)} = {result}")
        rest = rest[: part.start()] + result + rest[part.end() :]
    return "\n".join(steps) if rest == answer else ""


def plain(number: Any) -> str:
    """A number without a fraction of zeros: 76.0 is 76."""
    return f"{float(number):.6f}".rstrip("0").rstrip(".")
