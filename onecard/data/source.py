"""What a data set is, whatever it is made of, and which one a recipe names."""

from pathlib import Path
from typing import Protocol

from onecard.data.gym import Gym
from onecard.data.rows import Reading
from onecard.data.section import Data
from onecard.data.stored import OneFile, Stored
from onecard.data.svamp import FILE, HUB_ID, Svamp
from onecard.data.synthetic import SYNTHETIC, Synthetic
from onecard.data.synthetic_code import SYNTHETIC_CODE, SyntheticCode
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
    def kind(self) -> AnswerKind | None:
        """What its golds are; None where that shows only when it is read."""

    @property
    def dev_benchmark(self) -> str:
        """The benchmark that has its dev split."""

    @property
    def train_problems(self) -> int | None:
        """How many it makes; None where that shows only when it is read."""

    def load(self, split: str) -> list[Problem]:
        """The problems of a split: train, dev or test. Raises UserError for what cannot be used."""


def open_source(data: Data, kind: AnswerKind | None) -> Source:
    """The data set of a recipe; `kind` says what its golds are, None: seen from them."""
    if data.path == SYNTHETIC:
        return Synthetic(data.train_problems)
    if data.path == SYNTHETIC_CODE:
        return SyntheticCode(data.train_problems)
    reading = Reading(kind, data.columns, data.template, data.solution_template)
    if data.gym:
        return Gym(tuple(data.gym), data.train_problems, reading)
    if (Path(data.path) / FILE).is_file() or data.hub_id == HUB_ID:
        return Svamp(data.path, data.hub_id, reading)
    if Path(data.path).is_file():
        return OneFile(data.path, reading)
    return Stored(data.path, reading, hub_id=data.hub_id, hub_config=data.hub_config)
