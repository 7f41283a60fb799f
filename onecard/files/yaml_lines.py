"""Safe YAML that knows on which line each key stands, so that an error can say it."""

import re
from pathlib import Path
from typing import Any

import yaml

from onecard.types import UserError

Loc = tuple[str | int, ...]  # where a value is in a document: keys and list indices


class Loader(yaml.SafeLoader):
    """Safe YAML with the plain values of YAML 1.2. A key stands once.

    010 is not eight, yes is a word, and 1e-3 is a number.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key must be plain text", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands twice; remove one",
                    problem_mark=key.start_mark,
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):  # nine lines of them can stand for a billion values
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not taken; write the value out", problem_mark=mark
            )
        return super().compose_node(parent, index)


Loader.yaml_implicit_resolvers = {}  # the parent's are YAML 1.1
for tag, pattern, first in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        list("-+.0123456789"),
    ),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"(?:{pattern})$"), first)

# What PyYAML raises on odd tags.
NOT_YAML = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)


def read_yaml(file: Path) -> tuple[Any, dict[Loc, int]]:
    """A file's content, and the line of every key and list entry.

    Raises UserError with the line of what is broken.
    """
    try:
        text = file.read_text(encoding="utf-8")
        return yaml.load(text, Loader), dict(lines(yaml.compose(text, Loader), ()))
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}, line {mark.line + 1}" if mark else str(file)
        raise UserError(
            f"{where}: broken YAML: {getattr(error, 'problem', None) or error}"
        ) from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except NOT_YAML as error:
        raise UserError(
            f"{file}: broken YAML: {type(error).__name__}: {str(error)[:100]}"
        ) from None


def parse_value(text: str) -> Any:
    """One value as a recipe would hold it. Raises ValueError when it is not YAML."""
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, *NOT_YAML) as error:
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


def source_of(loc: Loc, sources: dict[Loc, str]) -> str | None:
    """Where a value stands, or else the innermost part of the recipe around it that is known."""
    for end in range(len(loc), 0, -1):
        if loc[:end] in sources:
            return sources[loc[:end]]
    return None
