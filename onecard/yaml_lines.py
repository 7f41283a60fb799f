"""Safe YAML that knows on which line each key stands, so that an error can say it."""

import re
from pathlib import Path
from typing import Any

import yaml

from onecard.types import UserError

Loc = tuple[str | int, ...]  # where a value is in a document: keys and list indices


class Loader(yaml.SafeLoader):
    """Safe YAML, plus: a key may stand once, and 1e-3 is a number (YAML 1.1 reads it as text)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be plain text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice; remove one", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))


def read_yaml(file: Path) -> tuple[Any, dict[Loc, int]]:
    """A file's content, and the line of every key and list entry. Raises UserError with the line of what is broken."""
    try:
        text = file.read_text(encoding="utf-8")
        return yaml.load(text, Loader), dict(lines(yaml.compose(text, Loader), ()))
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}, line {mark.line + 1}" if mark else str(file)
        raise UserError(f"{where}: broken YAML: {getattr(error, 'problem', None) or error}") from None


def parse_value(text: str) -> Any:
    """One value as a recipe would hold it. Raises ValueError when it is not YAML."""
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def lines(node: yaml.Node | None, loc: Loc) -> list[tuple[Loc, int]]:
    if isinstance(node, yaml.MappingNode):
        entries = [(key.value, key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        entries = [(index, value, value) for index, value in enumerate(node.value)]
    else:
        return []
    found = []
    for part, marked, value in entries:
        found += [((*loc, part), marked.start_mark.line + 1), *lines(value, (*loc, part))]
    return found
