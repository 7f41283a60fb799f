"""Completions of one's own with what they may earn: {"completion", "row", "least", "most"}."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError, model_validator

from onecard.files.formats import read_jsonl
from onecard.section import Section
from onecard.types import Problem, Rollout, UserError
from rewards.base import Fault
from rewards.scoring import BatchScorer, total_of
from rewards.selftest import outcomes_of


class OwnCase(Section):
    """`row`: the id of a training problem. The weighted sum of all rewards lies in the bounds."""

    completion: str
    row: str | int
    least: float | None = None
    most: float | None = None

    @model_validator(mode="after")
    def check(self) -> "OwnCase":
        if self.least is None and self.most is None:
            raise ValueError("say `least`, `most` or both: what the completion may earn")
        return self


def read_cases(file: Path) -> list[OwnCase]:
    """The cases of a JSON-lines file. Raises UserError with the number of a row that is none."""
    found = []
    for number, row in enumerate(read_jsonl(file), start=1):
        try:
            found.append(OwnCase.model_validate(row))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "the row"
            raise UserError(
                f"scoring.cases: {file}, row {number}: {key}: {first['msg']}; wanted"
                ' {"completion": "...", "row": ID, "least": 1.0, "most": 2.0}'
            ) from None
    return found


def check_own_cases(
    cases: Sequence[OwnCase], scorer: BatchScorer, problems: Sequence[Problem]
) -> None:
    """Score each case alone. Raises UserError naming those that earn less or more than they may."""
    by_id = {problem.id: problem for problem in problems}
    wrong = []
    for number, case in enumerate(cases, start=1):
        problem = by_id.get(str(case.row))
        if problem is None:
            raise UserError(
                f"scoring.cases, row {number}: no training problem has the id {case.row!r}; a"
                " problem without an id is known by the number of its row"
            )
        rollout = Rollout(problem, case.completion, len(case.completion.split()))
        (row,) = outcomes_of(scorer, scorer.grade([rollout]))
        scores = [None if isinstance(outcome, Fault) else outcome for outcome in row]
        total = total_of(scorer.rewards, scores)
        if case.least is not None and total < case.least:
            wrong.append(f"row {number} earns {total:g}, less than {case.least:g}")
        if case.most is not None and total > case.most:
            wrong.append(f"row {number} earns {total:g}, more than {case.most:g}")
    if wrong:
        raise UserError(f"scoring.cases: {'; '.join(wrong)}")
