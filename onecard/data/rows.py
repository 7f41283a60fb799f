"""Rows -> problems. Every row is read or named in an error: none is dropped here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from onecard.types import Messages, Problem, UserError
from rewards.answer.kinds.table import KINDS, kind_of
from rewards.answer.number import CALCULATOR
from rewards.answer.section import AnswerKind

LONGEST_TEXT = 100_000  # characters of a question or an answer; GSM8K's longest have about 1,000
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Reading:
    """How rows are read. `kind` None: seen from the golds. The rest is as in the recipe's data."""

    kind: AnswerKind | None = None
    columns: Mapping[Any, str] = field(default_factory=dict)
    template: str | None = None
    solution_template: str | None = None

    def name(self, column: str) -> str:
        """What a column of ours is called in the rows."""
        return self.columns.get(column, column)


PLAIN = Reading()


@dataclass(frozen=True)
class Row:
    """A row as it was read: its problem, but for the gold, and the gold as it was written."""

    where: str
    problem: Problem
    answer: Any
    shown: str  # the end of the answer's text, for an error

    def gold(self, kind: AnswerKind) -> str:
        """The gold, as one of that kind. Raises UserError where it is none."""
        if kind == "none":
            return ""
        gold = KINDS[kind].read_row(self.answer, self.problem)
        if gold is None:
            raise UserError(
                f"{self.where}: the answer must be {KINDS[kind].wanted}, got {self.shown!r}; the"
                f" other rows are read as answer.kind: {kind}"
            )
        return gold


def read_rows(rows: Iterable[Any], source: str, reading: Reading = PLAIN) -> list[Problem]:
    """{question, answer} rows as problems.

    An answer is "working #### gold", as GSM8K has it, or the gold alone: text, a number, a list or
    an object. A problem is known by its row's `id`, if it has one, else by the row's number. Raises
    UserError with the row's number.
    """
    found: list[Row] = []
    first: dict[str, int] = {}  # the row in which an id stood first
    for number, content in enumerate(rows, start=1):
        row = read_row(content, f"{source}, row {number}", number, reading)
        name = row.problem.id
        if first.setdefault(name, number) != number:
            raise UserError(
                f"{row.where}: the id {name!r} stands in row {first[name]} already; give each row"
                " its own"
            )
        found.append(row)
    if not found:
        raise UserError(f"{source}: no rows; at least one {{question, answer}} row is needed")
    kind = reading.kind or kind_of([row.answer for row in found])
    if kind != "none":
        KINDS[kind].ready()
    problems = [replace(row.problem, gold=row.gold(kind), kind=kind) for row in found]
    check_prompts(found)
    if kind != "none":
        clash = KINDS[kind].clash([problem.gold for problem in problems])
        if clash:
            raise UserError(f"{source}: {clash}")
    return problems


def columns_of(problems: Iterable[Problem]) -> frozenset[str]:
    """The names of all columns that rows have."""
    return frozenset(name for problem in problems for name in problem.columns)


def check_prompts(rows: list[Row]) -> None:
    """Raise UserError where some rows are put as text and others as chat messages."""
    is_text = [isinstance(row.problem.prompt, str) for row in rows]
    if any(is_text) and not all(is_text):
        one, other = rows[is_text.index(True)], rows[is_text.index(False)]
        raise UserError(
            f"{one.where}: the prompt is text, and in {other.where} it is not; write all prompts as"
            " text, or all as chat messages"
        )


def read_row(content: Any, where: str, number: int, reading: Reading) -> Row:
    question, prompt = read_question(content, where, reading)
    answer, solution, shown = read_answer(content, where, reading)
    if reading.solution_template is not None:
        solution = render_template(reading.solution_template, content, where, "solution_template")
    elif "solution" in reading.columns:
        solution = read_text(content, reading.name("solution"), where)
    elif not solution and "solution" not in reading.columns.values():
        beside = content.get("solution")  # nobody has to say that this is the worked solution
        solution = beside if isinstance(beside, str) else ""
    if "id" in reading.columns and reading.name("id") not in content:
        raise UserError(
            f"{where}: no column {reading.name('id')!r} for the id (the row has:"
            f" {', '.join(map(str, content))})"
        )
    name = content.get(reading.name("id"), number)
    if not isinstance(name, str | int):
        raise UserError(f"{where}: the id must be text or a whole number, got {name!r}")
    # Reward functions get the gold where the row has it, without the working before ####.
    columns = dict(content)
    if reading.name("answer") in columns:
        columns[reading.name("answer")] = answer
    problem = Problem(
        str(name),
        question,
        "",
        CALCULATOR.sub("", solution).strip(),
        prompt=prompt,
        columns=columns,
    )
    return Row(where, problem, answer, shown)


def read_question(row: Any, where: str, reading: Reading) -> tuple[str, str | Messages | None]:
    """The question; and the prompt, where the row has one of its own instead."""
    if reading.template is not None:
        text = render_template(reading.template, row, where, "template")
        return read_text({"template": text}, "template", where), None
    name, prompt_name = reading.name("question"), reading.name("prompt")
    has_prompt = isinstance(row, dict) and prompt_name in row and name not in row
    if not has_prompt or "question" in reading.columns:
        return read_text(row, name, where), None
    prompt = row[prompt_name]
    if isinstance(prompt, str):
        return read_text(row, prompt_name, where), prompt
    messages = read_messages(prompt, prompt_name, where)
    return messages[-1]["content"], messages


def read_messages(prompt: Any, column: str, where: str) -> Messages:
    """Chat messages. Raises UserError unless each has a role and a content, a user's at the end."""
    wanted = 'wanted text, or chat messages [{"role": "user", "content": "..."}]'
    if not isinstance(prompt, list) or not prompt:
        raise UserError(f"{where}: column {column!r} is no prompt; {wanted}")
    messages = []
    for message in prompt:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise UserError(f"{where}: a message of column {column!r} has no role; {wanted}")
        content = read_text(message, "content", f"{where}, column {column!r}")
        messages.append({"role": str(message["role"]), "content": content})
    if messages[-1]["role"] != "user":
        raise UserError(f"{where}: the last message of column {column!r} must be the user's")
    return tuple(messages)


def render_template(template: str, row: Any, where: str, key: str) -> str:
    """A template of data.`key` over a row. Raises UserError where it wants what the row lacks."""
    if not isinstance(row, dict):
        raise UserError(f"{where}: no row with columns, got {type(row).__name__}")
    environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    try:
        return environment.from_string(template).render(row)
    except Exception as error:  # a template is a program of the user's own
        raise UserError(
            f"{where}: data.{key}: {error} (the row has: {', '.join(map(str, row))})"
        ) from None


def read_answer(row: Any, where: str, reading: Reading) -> tuple[Any, str, str]:
    """The gold as it was written, the working before it, and the end of both for an error."""
    column = reading.name("answer")
    value = row.get(column) if isinstance(row, dict) else None
    if reading.kind == "none" or isinstance(value, bool | int | float | list | dict | tuple):
        return value, "", str(value)[-40:]
    if value is not None and not isinstance(value, str):  # a date, of Parquet
        return value, "", str(value)
    answer = read_text(row, column, where)
    solution, _, gold = answer.rpartition("####")
    return gold.strip(), solution, answer[-40:]


def read_text(row: Any, column: str, where: str) -> str:
    """The text of a column. Raises UserError where there is none, or none that can be written."""
    text = row.get(column) if isinstance(row, dict) else None
    if not isinstance(text, str) or not text.strip():
        found = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
        raise UserError(
            f"{where}: no text in column {column!r} (the row has: {found}); wanted question and"
            " answer. `data.columns: {question: NAME}` says what a column is called"
        )
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UserError(
            f"{where}: half of a surrogate pair in column {column!r}; such text cannot be written"
            " as UTF-8"
        )
    if len(text) > LONGEST_TEXT:
        raise UserError(
            f"{where}: {len(text):,} characters in column {column!r}, and {LONGEST_TEXT:,} are"
            " taken; is it one problem?"
        )
    return text
