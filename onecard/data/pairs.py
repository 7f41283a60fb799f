"""Pairs of completions, of which somebody prefers one: what DPO trains on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onecard.data.rows import PLAIN, read_messages, read_question, read_text
from onecard.files.tables import read_table
from onecard.types import Messages, Problem, UserError


@dataclass(frozen=True)
class Pair:
    """`problem` has the prompt; its gold is not known."""

    problem: Problem
    chosen: str
    rejected: str


def load_pairs(stage: str, path: str) -> list[Pair]:
    """The pairs of a file that a stage names. Raises UserError with the row's number."""
    file = Path(path)
    if not file.is_file():
        raise UserError(f"{stage}.pairs: there is no file {path}")
    return read_pairs(read_table(file), path)


def read_pairs(rows: Iterable[Any], source: str) -> list[Pair]:
    """Rows with a prompt, or a question, and the two completions, as TRL's data sets have them.

    Completions are text, or chats. A chat ends with the completion; what stands before it is the
    prompt, where the row has none of its own.
    """
    found = []
    for number, row in enumerate(rows, start=1):
        where = f"{source}, row {number}"
        if not isinstance(row, dict):
            raise UserError(f"{where}: wanted an object with prompt, chosen and rejected")
        asked = {"prompt", "question"} & set(row) or isinstance(row.get("chosen"), list)
        if not asked or not {"chosen", "rejected"} <= set(row):
            raise UserError(
                f"{where}: a pair has prompt, chosen and rejected; this row has {', '.join(row)}"
            )
        found.append(read_pair(row, where, number))
    if not found:
        raise UserError(f"{source}: no pairs; a row has prompt, chosen and rejected")
    return found


def read_pair(row: Mapping[str, Any], where: str, number: int) -> Pair:
    before, chosen = read_side(row, "chosen", where)
    other, rejected = read_side(row, "rejected", where)
    if before != other:
        raise UserError(f"{where}: chosen and rejected answer different prompts")
    if chosen == rejected:
        raise UserError(f"{where}: chosen and rejected are the same text")
    asked = {"prompt": list(before)} if before else row
    question, prompt = read_question(asked, where, PLAIN)
    return Pair(Problem(str(number), question, "", kind="none", prompt=prompt), chosen, rejected)


def read_side(row: Mapping[str, Any], side: str, where: str) -> tuple[Messages, str]:
    """What stands before a completion in its own column, and the completion."""
    value = row[side]
    if not isinstance(value, list):
        return (), read_text(row, side, where)
    *before, last = value or [None]
    if not isinstance(last, dict) or last.get("role") != "assistant":
        raise UserError(f"{where}: {side} must be text, or a chat that the assistant ends")
    text = read_text(last, "content", f"{where}, {side}")
    return read_messages(before, side, where) if before else (), text
