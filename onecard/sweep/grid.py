"""Which runs `--seeds` and `--sweep` ask for: each value with each other, each with every seed."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import yaml

from onecard.files.differences import short_names
from onecard.recipe.file import takes_text
from onecard.types import UserError

LONGEST = 24  # characters of a value in a folder's name


@dataclass(frozen=True)
class Variant:
    """One run. `name`: of its folder below runs/, after the recipe's. `settings`: as --set has."""

    name: str
    settings: tuple[str, ...]


def variants(seeds: str | None, sweeps: Sequence[str]) -> list[Variant]:
    """All runs of the first seed, then all of the next one; the first value of each key first.

    Raises UserError where a list cannot be read, or a key is there twice.
    """
    axes = [read_axis(sweep) for sweep in sweeps]
    if seeds is not None:
        axes.insert(0, Axis("seed", read_seeds(seeds)))
    keys = [axis.key for axis in axes]
    names = short_names([tuple(key.split(".")) for key in keys])
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise UserError(f"{', '.join(twice)} is to be varied twice; write all its values once")
    found = []
    for chosen in product(*map(Axis.parts, axes, names)):
        # The seed comes last in a name, and first in the order of the runs.
        parts = [*chosen[1:], chosen[0]] if seeds is not None else chosen
        name = "-".join(part.name for part in parts)
        found.append(Variant(name, tuple(part.setting for part in parts)))
    return found


@dataclass(frozen=True)
class Part:
    """One value of one key: in a folder's name, and as --set takes it."""

    name: str
    setting: str


@dataclass(frozen=True)
class Axis:
    """A key and its values."""

    key: str
    values: list[str]

    def parts(self, name: str) -> list[Part]:
        """`name`: the key's, in a folder's name."""
        return [Part(f"{name}-{plain(value)}", f"{self.key}={value}") for value in self.values]


def read_seeds(text: str) -> list[str]:
    """ "0,1,2" -> its numbers, as --set takes them."""
    seeds = [seed.strip() for seed in text.split(",")]
    if not all(seed.isascii() and seed.isdigit() for seed in seeds) or len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {text}: wanted different whole numbers, such as 0,1,2")
    return seeds


def read_axis(text: str) -> Axis:
    """ "grpo.beta=0,0.03" -> the key and its values. Commas inside brackets part nothing."""
    key, equals, listed = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--sweep {text}: wanted KEY=VALUE,VALUE, such as grpo.beta=0,0.03")
    values = split_values(key.strip(), listed)
    if len(values) < 2:
        raise UserError(f"--sweep {text}: wanted two values or more, with commas between")
    return Axis(key.strip(), values)


def split_values(key: str, listed: str) -> list[str]:
    """The items of a YAML list, each as --set takes it: a text without its quotes."""
    text = f"[{listed}]"
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        raise UserError(
            f"--sweep {key}: {listed} cannot be read as a list; write quotes around each value"
        ) from None
    if not isinstance(node, yaml.SequenceNode):
        raise UserError(f"--sweep: {listed} cannot be read as a list: a bracket is in the way")
    return [
        item.value
        if isinstance(item, yaml.ScalarNode) and item.style and takes_text(key)
        else text[item.start_mark.index : item.end_mark.index]
        for item in node.value
    ]


def plain(value: str) -> str:
    """A value with what a folder may be called alone.

    What is lost by that stands for a few letters: two values never have one name, and a value has
    the same name beside whatever others.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", value).strip("-.") or "value"
    if name.removeprefix("-") == value.removeprefix("-") and len(value) <= LONGEST:
        return value
    return f"{name[:LONGEST].rstrip('-.')}-{hashlib.sha256(value.encode()).hexdigest()[:4]}"
