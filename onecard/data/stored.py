"""Data sets of somebody's own: JSON lines in a folder, or a data set on the hub."""

import zlib
from dataclasses import dataclass
from pathlib import Path

from onecard.data.rows import read_rows
from onecard.files import hub
from onecard.files.formats import read_jsonl
from onecard.types import Problem, UserError
from rewards.answer.section import AnswerKind

DEV_PART = 15  # one training row in this many is carved off as the dev split


@dataclass(frozen=True)
class Stored:
    """A folder with train.jsonl and test.jsonl; where there is none, the data set on the hub."""

    path: str
    hub_id: str | None = None
    hub_config: str | None = None
    kind: AnswerKind = "number"
    dev_benchmark: str = "dev"
    train_problems: int | None = None

    @property
    def folder(self) -> Path:
        return Path(self.path)

    def load(self, split: str) -> list[Problem]:
        """A split, whole and in its own order.

        Without a dev.jsonl the dev split is carved from train.jsonl: the two then share no row,
        and nobody needs to choose anything on the test split.
        """
        carved = split in ("train", "dev") and not (self.folder / "dev.jsonl").is_file()
        problems = self.read("train" if carved else split)
        if not carved:
            return problems
        kept = [problem for problem in problems if in_dev(problem) == (split == "dev")]
        if not kept:
            raise UserError(
                f"{self.path}: {len(problems)} training rows are too few to carve a dev split"
                " from; add a dev.jsonl"
            )
        return kept

    def read(self, split: str) -> list[Problem]:
        """The rows of a split as they are stored. Raises UserError naming the file and the row."""
        if self.folder.is_dir():
            file = self.folder / f"{split}.jsonl"
            if not file.is_file():
                raise UserError(
                    f"data.path: no file {file}; the folder must hold train.jsonl and test.jsonl"
                )
            return read_rows(read_jsonl(file), str(file), self.kind)
        if self.folder.is_file():
            raise UserError(
                f"data.path: {self.path!r} is a file; give the folder that holds train.jsonl and"
                " test.jsonl"
            )
        if self.hub_id is None:
            raise UserError(
                f"data.path: no folder {self.path!r}; give a folder with train.jsonl and"
                " test.jsonl, or set data.hub_id"
            )
        rows = hub.load_rows(self.hub_id, self.hub_config, split)
        return read_rows(rows, f"{self.hub_id} {split}", self.kind)


def in_dev(problem: Problem) -> bool:
    """Whether a training row belongs to the dev split: by its question, whatever else there is."""
    return zlib.crc32(problem.question.encode("utf-8", "surrogatepass")) % DEV_PART == 0
