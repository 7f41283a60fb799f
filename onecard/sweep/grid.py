"""Which runs `--seeds` and `--sweep` ask for: each value with each other, each with every seed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import yaml

from onecard.types import UserError


@dataclass(frozen=True)
class Variant:
    """One run. `name`: of its folder below runs/, after the recipe's. `settings`: as --set has."""

    name: str
    settings: tuple[str, ...]


def variants(seeds: str | None, sweeps: Sequence[str]) -> list[Variant]:
    """All runs of the first seed, then all of the next one; the first value of each key first.

    Raises UserError where a list cannot be read, or where two runs would have one folder.
    """
    axes = [read_axis("--sweep", sweep) for sweep in sweeps]
    found = []
    for seed in read_seeds(seeds) if seeds is not None else [None]:
        for values in product(*(values for _, values in axes)):
            pairs = [(key, value) for (key, _), value in zip(axes, values, strict=True)]
            pairs += [("seed", seed)] if seed is not None else []
            name = "-".join(part for key, value in pairs for part in (key.split(".")[-1], value))
            settings = tuple(f"{key}={value}" for key, value in pairs)
            found.append(Variant(plain(name), settings))
    names = [one.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two runs would have the folder name {', '.join(twice)}: change a value")
    return found


def read_seeds(text: str) -> list[str]:
    """ "0,1,2" -> its numbers, as --set takes them."""
    seeds = [seed.strip() for seed in text.split(",")]
    if not all(seed.isascii() and seed.isdigit() for seed in seeds) or len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {text}: wanted different whole numbers, such as 0,1,2")
    return seeds


def read_axis(option: str, text: str) -> tuple[str, list[str]]:
    """ "grpo.beta=0,0.03" -> the key and its values. Commas inside brackets part nothing."""
    key, equals, listed = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"{option} {text}: wanted KEY=VALUE,VALUE, such as grpo.beta=0,0.03")
    values = split_values(listed)
    if len(values) < 2 or len(set(values)) < len(values):
        raise UserError(
            f"{option} {text}: wanted two different values or more, with commas between"
        )
    return key.strip(), values


def split_values(listed: str) -> list[str]:
    """The items of a YAML list, each as it is written."""
    text = f"[{listed}]"
    try:
        items = yaml.compose(text, Loader=yaml.SafeLoader).value  # type: ignore[union-attr]
    except yaml.YAMLError as error:
        raise UserError(f"--sweep: {listed} cannot be read as a list: {error}") from None
    return [text[item.start_mark.index : item.end_mark.index] for item in items]


def plain(name: str) -> str:
    """A name with what a folder may be called alone."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")
