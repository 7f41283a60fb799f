"""The recipe's `data:`."""

from typing import Annotated, Any, Literal

from jinja2 import TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment
from pydantic import AfterValidator, Field, model_validator

from onecard.section import Count, Positive, Section
from rewards.answer.kinds.gym import PACKAGE, check_task

Column = Literal["question", "prompt", "answer", "solution", "id"]


def parsed(template: str) -> str:
    """A Jinja template as it is. Raises ValueError where it is broken."""
    try:
        SandboxedEnvironment().parse(template)
    except TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.message}") from None
    return template


class GymTask(Section):
    """A task of reasoning-gym. Of several, each makes a share of the rows, by its `weight`."""

    task: Annotated[str, AfterValidator(check_task)]
    params: dict[str, Any] = Field(default={})
    weight: Positive = 1.0


class Data(Section):
    """`path`: a folder with train.jsonl and test.jsonl, one file of rows, or a synthetic set:
    `tiny`, word problems, or `tiny-code`, small functions with tests. Rows may also be CSV or
    Parquet. Where there is no such folder, the data set `hub_id` is fetched instead. With `gym` the
    rows are made by tasks of reasoning-gym, and there is no path. One task is short for a list of
    one: {gym: chain_sum, params: {max_terms: 3}}.

    `columns` says what a column of ours is called in the rows: {question: problem}. `template` is a
    Jinja template over a row's columns, for the text of the question, and `solution_template` one
    for the worked solution that SFT shows. `difficulty` names a column that says how hard a row is,
    `level` or `metadata.num_terms`, for grpo.dynamic_sampling. `accept` lets rows pass that are
    refused otherwise: one question with two different right answers, and questions of a benchmark
    that are trained on.
    """

    path: str
    gym: list[GymTask] | None = None
    hub_id: str | None = None
    hub_config: str | None = None
    columns: dict[Column, str] = Field(default={})
    template: Annotated[str, AfterValidator(parsed)] | None = None
    solution_template: Annotated[str, AfterValidator(parsed)] | None = None
    difficulty: str | None = None
    accept: list[Literal["contradictions", "leaks"]] = Field(default=[])
    # How many are made, of the synthetic set and of reasoning-gym; a real set is used whole.
    train_problems: Count = 3000
    system_prompt: str | None = None
    max_prompt_length: Count  # tokens; longer training prompts are left out, and counted aloud

    @model_validator(mode="before")
    @classmethod
    def read_gym(cls, values: Any) -> Any:
        """`gym: NAME` with its `params` as a list of one task. Raises ValueError beside a path."""
        if not isinstance(values, dict) or values.get("gym") is None:
            return values
        path, gym = values.get("path", PACKAGE), values["gym"]
        if path != PACKAGE:
            raise ValueError(f"path {path!r} and gym: only one of them can be; leave the other out")
        if isinstance(gym, str):
            task = {"task": gym, "params": values.get("params", {})}
            values = {name: value for name, value in values.items() if name != "params"}
            return values | {"path": path, "gym": [task]}
        return values | {"path": path}
