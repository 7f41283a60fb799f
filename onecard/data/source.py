"""What a data set is, whatever it is made of, and which one a recipe names."""

from pathlib import Path
from typing import Protocol

from onecard.data.section import Data
from onecard.data.stored import Stored
from onecard.data.synthetic import SYNTHETIC, Synthetic
from onecard.types import Problem
from rewards.answer.section import AnswerKind


class Source(Protocol):
    """A data set. What somebody needs to know of it, it says itself."""

    @property
    def path(self) -> str:
        """What it is called in messages."""

    @property
    def folder(self) -> Path | None:
        """Where it is, or would be, on this disk; None for one that is made on the spot."""

    @property
    def kind(self) -> AnswerKind:
        """What its golds are."""

    @property
    def dev_benchmark(self) -> str:
        """The benchmark that has its dev split."""

    @property
    def train_problems(self) -> int | None:
        """How many it makes; None where that shows only when it is read."""

    def load(self, split: str) -> list[Problem]:
        """The problems of a split: train, dev or test. Raises UserError for what cannot be used."""


def open_source(data: Data, kind: AnswerKind) -> Source:
    """The data set of a recipe; `kind` says what its golds are."""
    if data.path == SYNTHETIC:
        return Synthetic(data.train_problems)
    return Stored(data.path, data.hub_id, data.hub_config, kind)
