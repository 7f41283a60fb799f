"""Go's text/template, as much of it as our Modelfiles use, written from its documentation: to read
them as Ollama does.

The same templates were also put through Ollama's own template package and its Modelfile parser, by
hand (docs/gpu.md).
"""

import re
from typing import Any

ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


def execute(text: str, messages: list[dict[str, str]]) -> str:
    """The prompt: .System is all system prompts, .Messages all messages, those included, as Ollama
    passes them.
    """
    parts = ACTION.split(text)  # text, action, text, action, ..., text
    nodes = [part.strip() if index % 2 else ("text", part) for index, part in enumerate(parts)]
    data = {
        "System": "\n\n".join(m["content"] for m in messages if m["role"] == "system"),
        "Messages": messages,
    }
    out, rest = run(nodes, 0, data, {"$": data}, True)
    assert rest == len(nodes), nodes[rest]
    return out


def run(nodes: list[Any], at: int, dot: Any, names: dict[str, Any], live: bool) -> tuple[str, int]:
    """Execute from `at` to an else, an end or the end of all: the output, and where that is."""
    out = ""
    while at < len(nodes):
        node = nodes[at]
        if isinstance(node, tuple):
            out += node[1]
        elif node.startswith("range $index, $_ := "):
            items = value(node.removeprefix("range $index, $_ := "), dot, names)
            _, end = run(nodes, at + 1, {"Role": "", "Content": ""}, names | {"$index": 0}, False)
            for index, item in enumerate(items if live else []):
                inner = {"Role": item["role"], "Content": item["content"]}
                out += run(nodes, at + 1, inner, names | {"$index": index}, True)[0]
            assert nodes[end] == "end"
            at = end
        elif node.startswith("if "):
            chosen, at = branches(nodes, at, dot, names, live)
            out += chosen
        elif node == "end" or node.startswith("else"):
            return out, at
        else:
            out += str(value(node, dot, names)) if live else ""
        at += 1
    return out, at


def branches(
    nodes: list[Any], at: int, dot: Any, names: dict[str, Any], live: bool
) -> tuple[str, int]:
    """One if with its else-ifs and its else: the output, and where its end is."""
    out, taken = "", not live
    while nodes[at] != "end":
        condition = nodes[at].removeprefix("else").strip()
        holds = not taken and (
            not condition or bool(value(condition.removeprefix("if "), dot, names))
        )
        inner, at = run(nodes, at + 1, dot, names, holds)
        out, taken = (inner, True) if holds else (out, taken)
    return out, at


def value(text: str, dot: Any, names: dict[str, Any]) -> Any:
    """A field, a variable, a literal, or a call of eq, len or slice with such arguments."""
    text = text.strip()
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    if text.isdigit() or text.startswith('"'):
        return int(text) if text.isdigit() else text.strip('"')
    if re.fullmatch(r"\.\w+", text):
        return dot[text[1:]]
    if re.fullmatch(r"\$\.\w+", text):
        return names["$"][text[2:]]
    if re.fullmatch(r"\$\w+", text):
        return names[text]
    function, _, rest = text.partition(" ")
    arguments = [
        value(argument, dot, names)
        for argument in re.findall(r"\((?:[^()]|\([^()]*\))*\)|\"[^\"]*\"|\S+", rest)
    ]
    calls: dict[str, Any] = {
        "eq": lambda a, b: a == b,
        "len": len,
        "slice": lambda items, start: items[start:],
    }
    return calls[function](*arguments)
