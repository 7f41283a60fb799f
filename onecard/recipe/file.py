"""A recipe's file -> Recipe: read with `--set`, checked as a whole.

Every fault is told with its line and what to write.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from pydantic import ValidationError

from onecard.files.yaml_lines import Loc, parse_value, read_yaml, source_of
from onecard.recipe.old_keys import (
    declare_answer_once,
    drop_constants,
    rename_override,
    rename_sections,
)
from onecard.recipe.schema import Recipe
from onecard.section import Section, did_you_mean
from onecard.stages.sections import NAMES
from onecard.stages.trl.fields import SET_BY_ONECARD, trl_fields
from onecard.types import UserError
from rewards.table import REWARDS

SHIPPED = Path(__file__).parents[2] / "recipes"

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


def load_recipe(
    path: str | Path,
    overrides: list[str] | None = None,
    say: Callable[[str], None] | None = None,
) -> Recipe:
    """Read and check a recipe; `overrides` are "a.b=value" strings, typed by the schema.

    `say` is told what an older recipe calls otherwise. Raises UserError: one line per fault, each
    with the file's line, what was found and what to write.
    """
    path = Path(path)
    check_is_file(path)
    content, lines = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: a recipe is a mapping of sections (name, model, grpo, ...), got"
            f" {type(content).__name__}"
        )
    sources = {loc: f"{path}, line {line}" for loc, line in lines.items()}
    told = rename_sections(content, sources)
    overridden: dict[Loc, str] = {}
    for override in overrides or []:
        loc = apply_override(content, rename_override(override))
        sources = {place: line for place, line in sources.items() if place[: len(loc)] != loc}
        overridden[loc] = sources[loc] = f"--set {override}"
    forget_other_data(content, set(overridden))
    there = {name for name in NAMES if content.get(name) is not None}
    changed = any(loc[0] in NAMES for loc in overridden) and ("stages",) not in overridden
    if changed and set(content.get("stages") or ()) != there:
        content.pop("stages", None)  # --set brought a section, or took one away
    told += declare_answer_once(content, sources)
    told += drop_constants(content, sources)
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        faults = [explain(fault, sources, overridden, path) for fault in error.errors()]
        raise UserError("\n".join(faults)) from None
    for line in told:
        if say:
            say(line)
    return recipe


def check_is_file(path: Path) -> None:
    """Raise UserError, with the recipes that are there, where a path is no file."""
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise UserError(f"{str(path)[:80]}: cannot be read: {error.strerror}") from None
    if is_folder:
        found = ", ".join(sorted(file.name for file in path.glob("*.yaml"))) or "none"
        raise UserError(f"{path} is a folder, not a recipe; recipes in it: {found}")
    if not is_file:
        shipped = [f"recipes/{file.name}" for file in SHIPPED.glob("*.yaml")]
        nearest = did_you_mean(str(path), shipped)
        raise UserError(f"no recipe {path}{nearest}; recipes/ has the shipped ones")


def forget_other_data(content: dict[str, Any], overridden: set[Loc]) -> None:
    """Of a recipe's data set keep only what belongs to the one that --set names.

    A folder that somebody typed is meant: where it is not there, the recipe's own data set on the
    hub would be trained on instead.
    """
    path, hub_id, gym = (("data", name) in overridden for name in ("path", "hub_id", "gym"))
    other: list[str] = []
    if path and not hub_id:
        other += ["hub_id", "gym", "params"]
    if gym:
        other += ["path", "hub_id", "columns", "template", "solution_template", "params"]
    if path or hub_id or gym:
        other.append("hub_config")
    for name in other:
        if not any(loc[:2] == ("data", name) for loc in overridden):
            content["data"].pop(name, None)


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
    kinds = kinds_at(loc)
    none = type(None) in kinds and text in ("", "null", "~")
    try:
        # `--set name=7` means the text "7"
        target[loc[-1]] = text if is_text(kinds) and not none else parse_value(text)
    except (IndexError, TypeError):
        raise UserError(
            f"--set {override}: there is no place {loc[-1]!r} in a {type(target).__name__}"
        ) from None
    except ValueError:
        raise UserError(
            f"--set {override}: {text!r} is not a YAML value; quote it for the shell"
        ) from None
    return loc


def takes_text(key: str) -> bool:
    """Whether a key such as data.system_prompt takes any text as it is, without YAML's quotes."""
    return is_text(kinds_at(tuple(key.split("."))))


def is_text(kinds: set[Any]) -> bool:
    return str in kinds and kinds <= {str, type(None)}


def kinds_at(loc: Loc) -> set[Any]:
    """The types that the schema takes at a path, str and None for `str | None`; none elsewhere."""
    section = section_at(loc[:-1])
    field = section.model_fields.get(str(loc[-1])) if section else None
    if field is None:
        return set()
    union = isinstance(field.annotation, UnionType)
    return set(get_args(field.annotation)) if union else {field.annotation}


def section_at(loc: Loc) -> type[Section] | None:
    """The schema's section at a path of keys and list indices, or None where there is none."""
    section: type[Section] | None = Recipe
    for part in loc:
        if isinstance(part, str):
            field = section.model_fields.get(part) if section else None
            found = annotations(field.annotation) if field else iter(())
            section = next(filter(is_section, found), None)
    return section


def annotations(annotation: Any) -> Iterator[Any]:
    """A type annotation and all that stands inside it.

    list[Reward] | None -> itself, list[Reward], Reward, None.
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
    if homes := homes_of(name):
        return f" (did you mean {' or '.join(homes)}?)"
    if name in trl_fields():
        return "; it is a field of TRL's GRPOConfig: write it below grpo.extra"
    return did_you_mean(name, section.model_fields if section else ())


def homes_of(name: str) -> list[str]:
    """The keys of that name in any section, as "section.name"."""
    found = []
    for key in Recipe.model_fields:
        section = section_at((key,))
        if section and name in section.model_fields:
            found.append(f"{key}.{name}")
    return found


def explain(fault: Any, sources: dict[Loc, str], overridden: dict[Loc, str], path: Path) -> str:
    """One of pydantic's faults in the words of the recipe: where, which key, what to write."""
    loc, kind = fault["loc"], fault["type"]
    section = section_at(loc[:-1])
    if loc[:1] == ("rewards",) and len(loc) > 2:
        # pydantic puts the reward's name into the path: rewards, 0, overlong, max_tokens.
        section, loc = REWARDS[loc[2]], loc[:2] + loc[3:]
    where = source_of(loc, sources) or str(path)
    if kind == "value_error":
        # Arithmetic across a section's keys: an override in it is the likelier culprit.
        for place, label in reversed(overridden.items()):
            if place[: len(loc)] == loc:
                where = label
                break
    key = ".".join(map(str, loc))
    if kind == "extra_forbidden":
        return f"{where}: unknown key {key}{instead_of(str(loc[-1]), section)}"
    if kind == "union_tag_invalid":
        tag = fault["ctx"]["tag"]
        where = sources.get((*loc, "name"), where)
        nearest = did_you_mean(tag, REWARDS)
        return f"{where}: no reward {tag!r}{nearest}; there are: {', '.join(REWARDS)}"
    if kind == "union_tag_not_found":
        return f"{where}: {key}.name is missing; there are: {', '.join(REWARDS)}"
    if kind == "missing":
        return f"{where}: {key} is missing; every recipe states it"
    got = "" if kind == "value_error" else f", got {fault['input']!r}"
    reason = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {key + ': ' if key else ''}{reason}{got}"
