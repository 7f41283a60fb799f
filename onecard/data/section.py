"""The recipe's `data:`."""

from typing import Annotated, Literal

from jinja2 import TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment
from pydantic import AfterValidator, Field

from onecard.section import Count, Section

Column = Literal["question", "prompt", "answer", "solution", "id"]


def parsed(template: str) -> str:
    """A Jinja template as it is. Raises ValueError where it is broken."""
    try:
        SandboxedEnvironment().parse(template)
    except TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.message}") from None
    return template


class Data(Section):
    """`path`: a folder with train.jsonl and test.jsonl, one file of rows, or `tiny`, the synthetic
    set. Rows may also be CSV or Parquet. Where there is no such folder, the data set `hub_id` is
    fetched instead.

    `columns` says what a column of ours is called in the rows: {question: problem}. `template` is a
    Jinja template over a row's columns, for the text of the question. `accept` lets rows pass that
    are refused otherwise: one question with two different right answers, and questions of a
    benchmark that are trained on.
    """

    path: str
    hub_id: str | None = None
    hub_config: str | None = None
    columns: dict[Column, str] = Field(default={})
    template: Annotated[str, AfterValidator(parsed)] | None = None
    accept: list[Literal["contradictions", "leaks"]] = Field(default=[])
    train_problems: Count = 3000  # how many the synthetic set makes; a real set is used whole
    system_prompt: str | None = None
    max_prompt_length: Count  # tokens; longer training prompts are left out, and counted aloud
