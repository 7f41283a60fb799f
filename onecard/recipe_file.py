"""A recipe's file -> Recipe: YAML and `--set` read, checked as a whole, and every fault told with
its line and what to write.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from onecard.files.yaml_lines import Loc, parse_value, read_yaml
from onecard.grpo import SET_BY_ONECARD, trl_fields
from onecard.recipe import Recipe
from onecard.section import Section, did_you_mean
from onecard.types import UserError
from rewards import REWARDS

# Names that notebooks and `trl grpo` use, and what a recipe has for them.
ELSEWHERE = {
    "r": "lora.rank",
    "lora_r": "lora.rank",
    "max_lora_rank": "lora.rank",
    "lora_alpha": "lora.alpha",
    "lora_dropout": "lora.dropout",
    "model_name": "model.name",
    "dataset_name": "data.hub_id",
    "max_prompt_length": "data.max_prompt_length",
    "max_new_tokens": "grpo.max_completion_length",
    "kl_coef": "grpo.beta",
    "num_train_epochs": "grpo.max_steps",
    "use_gradient_checkpointing": "grpo.gradient_checkpointing",
    "reward_funcs": "rewards",
    "random_state": "seed",
    "gpu_memory_utilization": "chosen by Unsloth from the card's size",
}


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read and check a recipe; `overrides` are "a.b=value" strings, typed by the schema.

    Raises UserError: one line per fault, each with the file's line, what was found and what to
    write.
    """
    path = Path(path)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise UserError(f"{str(path)[:80]}: cannot be read: {error.strerror}") from None
    if is_folder:
        found = ", ".join(sorted(file.name for file in path.glob("*.yaml"))) or "none"
        raise UserError(f"{path} is a folder, not a recipe; recipes in it: {found}")
    if not is_file:
        shipped = [
            f"recipes/{file.name}" for file in Path(__file__).parent.parent.glob("recipes/*.yaml")
        ]
        raise UserError(
            f"no recipe {path}{did_you_mean(str(path), shipped)}; recipes/ has the shipped ones"
        )
    content, lines = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: a recipe is a mapping of sections (name, model, grpo, ...), got"
            f" {type(content).__name__}"
        )
    sources = {loc: f"{path}, line {line}" for loc, line in lines.items()}
    overridden: dict[Loc, str] = {}
    for override in overrides or []:
        loc = apply_override(content, override)
        sources = {place: line for place, line in sources.items() if place[: len(loc)] != loc}
        overridden[loc] = sources[loc] = f"--set {override}"
    if ("data", "path") in overridden and ("data", "hub_id") not in overridden:
        # A folder that somebody typed is meant: where it is not there, the recipe's own data set on
        # the hub would be trained on instead.
        content["data"]["hub_id"] = None
    if {("data", "path"), ("data", "hub_id")} & overridden.keys() and (
        "data",
        "hub_config",
    ) not in overridden:
        content["data"]["hub_config"] = None
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise UserError(
            "\n".join(explain(fault, sources, overridden, path) for fault in error.errors())
        ) from None


def apply_override(content: dict[str, Any], override: str) -> Loc:
    """Write one "a.b=value" into the recipe's content; return the path it went to."""
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"--set {override}: wanted key=value, for example --set grpo.max_steps=20")
    loc: Loc = tuple(
        int(part) if part.isascii() and part.isdigit() else part for part in key.split(".")
    )
    target: Any = content
    for part in loc[:-1]:
        if isinstance(target, dict) and target.get(part) is None:
            target[part] = {}  # a section that the recipe leaves out
        try:
            target = target[part]
        except (KeyError, IndexError, TypeError):
            raise UserError(
                f"--set {override}: there is no {part!r} to set {loc[-1]!r} in"
            ) from None
    section = section_at(loc[:-1])
    field = section.model_fields.get(str(loc[-1])) if section else None
    kinds = set(annotations(field.annotation)) if field else set()
    optional = kinds == {str, type(None), str | None} and text not in ("", "null", "~")
    plain_text = field is not None and (field.annotation is str or optional)
    try:
        # `--set name=7` means the text "7"
        target[loc[-1]] = text if plain_text else parse_value(text)
    except (IndexError, TypeError):
        raise UserError(
            f"--set {override}: there is no place {loc[-1]!r} in a {type(target).__name__}"
        ) from None
    except ValueError:
        raise UserError(
            f"--set {override}: {text!r} is not a YAML value; quote it for the shell"
        ) from None
    return loc


def section_at(loc: Loc) -> type[Section] | None:
    """The schema's section at a path of keys and list indices, or None where there is none."""
    section: type[Section] | None = Recipe
    for part in loc:
        if isinstance(part, str):
            field = section.model_fields.get(part) if section else None
            section = (
                next(filter(is_section, annotations(field.annotation)), None) if field else None
            )
    return section


def annotations(annotation: Any) -> Iterator[Any]:
    """A type annotation and all that stands inside it: list[Reward] | None -> itself, list[Reward],
    Reward, None.
    """
    yield annotation
    for inner in get_args(annotation):
        yield from annotations(inner)


def is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def instead_of(name: str, section: type[Section] | None) -> str:
    """What to write for a key that a section has not, as the end of a sentence."""
    if name in ELSEWHERE:
        return f"; here it is {ELSEWHERE[name]}"
    if name in SET_BY_ONECARD:
        return f", which is not taken here: {SET_BY_ONECARD[name]}"
    if homes := [
        f"{key}.{name}"
        for key in Recipe.model_fields
        if (other := section_at((key,))) and name in other.model_fields
    ]:
        return f" (did you mean {' or '.join(homes)}?)"
    if name in trl_fields():
        return "; it is a field of TRL's GRPOConfig: write it below grpo.extra"
    return did_you_mean(name, section.model_fields if section else ())


def explain(fault: Any, sources: dict[Loc, str], overridden: dict[Loc, str], path: Path) -> str:
    """One of pydantic's faults in the words of the recipe: where, which key, what was wrong, what
    to write.
    """
    loc = fault["loc"]
    section = section_at(loc[:-1])
    if (
        loc[:1] == ("rewards",) and len(loc) > 2
    ):  # pydantic puts the reward's name into the path: rewards, 0, overlong, max_tokens
        section, loc = REWARDS[loc[2]], loc[:2] + loc[3:]
    where = next(
        (sources[loc[:end]] for end in range(len(loc), 0, -1) if loc[:end] in sources), str(path)
    )
    if (
        fault["type"] == "value_error"
    ):  # arithmetic across a section's keys: an override in it is the likelier culprit
        where = next(
            (label for place, label in reversed(overridden.items()) if place[: len(loc)] == loc),
            where,
        )
    key = ".".join(map(str, loc))
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key {key}{instead_of(str(loc[-1]), section)}"
    if fault["type"] == "union_tag_invalid":
        tag, where = fault["ctx"]["tag"], sources.get((*loc, "name"), where)
        return (
            f"{where}: no reward {tag!r}{did_you_mean(tag, REWARDS)}; there are:"
            f" {', '.join(REWARDS)}"
        )
    if fault["type"] == "union_tag_not_found":
        return f"{where}: {key}.name is missing; there are: {', '.join(REWARDS)}"
    if fault["type"] == "missing":
        return f"{where}: {key} is missing; every recipe states it"
    got = "" if fault["type"] == "value_error" else f", got {fault['input']!r}"
    return f"{where}: {key + ': ' if key else ''}{fault['msg'].removeprefix('Value error, ')}{got}"
