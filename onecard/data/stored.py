"""Data sets of somebody's own: a folder of files, one file, or a data set on the hub."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from onecard.data.rows import PLAIN, Reading, read_rows
from onecard.data.sameness import asked_words
from onecard.files import hub
from onecard.files.tables import SUFFIXES, read_table
from onecard.types import Problem, UserError
from rewards.answer.section import AnswerKind

DEV_PART = 15  # one training row in this many is carved off as the dev split
TEST_PART = 5  # of a single file, one row in this many as the test split


@dataclass(frozen=True)
class OwnRows:
    """Rows of somebody's own, and how they are read."""

    path: str
    reading: Reading = PLAIN
    dev_benchmark: str = "dev"
    train_problems: int | None = None

    @property
    def kind(self) -> AnswerKind | None:
        return self.reading.kind


@dataclass(frozen=True)
class Stored(OwnRows):
    """A folder with a file for each split; where there is none, the data set on the hub."""

    hub_id: str | None = None
    hub_config: str | None = None

    @property
    def folder(self) -> Path:
        return Path(self.path)

    def load(self, split: str) -> list[Problem]:
        """A split, whole and in its own order.

        Without a file of it the dev split is carved from the training rows: the two then share no
        row, and nobody needs to choose anything on the test split.
        """
        carved = split in ("train", "dev") and self.file("dev") is None
        problems = self.training_rows if carved or split == "train" else self.read(split)
        if not carved:
            return problems
        # GSM8K's dev split is known by its rows: the key stays the question alone.
        return carve(problems, [problem.question for problem in problems], split, self.path)

    def file(self, split: str) -> Path | None:
        """The file of a split; None where there is none. Raises UserError where there are two."""
        found = [
            file for suffix in SUFFIXES if (file := self.folder / f"{split}{suffix}").is_file()
        ]
        if len(found) > 1:
            names = " and ".join(file.name for file in found)
            raise UserError(f"data.path: {self.path} has {names}; keep one of them")
        return found[0] if found else None

    def read(self, split: str) -> list[Problem]:
        """The rows of a split as problems. Raises UserError naming the file and the row."""
        rows, where = self.rows(split)
        return read_rows(rows, where, self.reading_of(split))

    def rows(self, split: str, hub_split: str | None = None) -> tuple[Iterable[Any], str]:
        """The rows of a split as they are stored, and where that is.

        `hub_split`: what the hub calls it, where that is another name.
        """
        if self.folder.is_dir():
            file = self.file(split)
            if file is None:
                raise UserError(
                    f"data.path: no file {self.folder / split}.jsonl; the folder must hold"
                    " train.jsonl and test.jsonl (or .csv, .tsv, .json, .parquet)"
                )
            return read_table(file), str(file)
        if self.hub_id is None:
            raise UserError(
                f"data.path: no folder or file {self.path!r}; give a folder with train.jsonl and"
                " test.jsonl, or one file of rows, or set data.hub_id"
            )
        name = hub_split or split
        return hub.load_rows(self.hub_id, self.hub_config, name), f"{self.hub_id} {name}"

    @cached_property
    def training_rows(self) -> list[Problem]:
        """Read once: the other splits ask which kind their right answers are."""
        return self.read("train")

    def reading_of(self, split: str) -> Reading:
        """The golds of every split are of the kind that those of the training rows are."""
        only = self.folder.is_dir() and self.file("train") is None
        if split == "train" or only or self.reading.kind is not None:
            return self.reading
        return replace(self.reading, kind=cast(AnswerKind, self.training_rows[0].kind))


@dataclass(frozen=True)
class OneFile(OwnRows):
    """One file of rows, from which the test split and the dev split are carved."""

    @property
    def folder(self) -> Path:
        return Path(self.path).parent

    @cached_property
    def rows(self) -> list[Problem]:
        return read_rows(read_table(Path(self.path)), self.path, self.reading)

    def load(self, split: str) -> list[Problem]:
        """A split, in the file's order. Rows that ask the same are in the same split."""
        in_test = [carved_off(f"test {asked_words(one)}", TEST_PART) for one in self.rows]
        chosen = [
            problem
            for problem, tested in zip(self.rows, in_test, strict=True)
            if tested == (split == "test")
        ]
        if split != "test":
            keys = [f"dev {asked_words(problem)}" for problem in chosen]
            return carve(chosen, keys, split, self.path)
        if not chosen:
            raise UserError(
                f"{self.path}: {len(self.rows)} rows are too few to carve a test split from; give a"
                " folder with train.jsonl and test.jsonl"
            )
        return chosen


def carve(problems: Sequence[Problem], keys: Sequence[str], split: str, path: str) -> list[Problem]:
    """Of training rows, those of the split `train` or `dev`: by their keys."""
    kept = [
        problem
        for problem, key in zip(problems, keys, strict=True)
        if carved_off(key, DEV_PART) == (split == "dev")
    ]
    if not kept:
        raise UserError(
            f"{path}: {len(problems)} training rows are too few to carve a dev split from; add a"
            " dev.jsonl"
        )
    return kept


def carved_off(key: str, part: int) -> bool:
    """Whether a row is one that is carved off: by its key, whatever else there is."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % part == 0
