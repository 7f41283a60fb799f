"""Does the code pass its row's tests?"""

from collections.abc import Sequence
from typing import Literal

from onecard.types import Problem, Rollout, Score, UserError
from rewards.answer.grader import GraderError
from rewards.answer.kinds.code import trial_of
from rewards.base import Context, Rule, RuleScorer
from rewards.sandbox.client import ForkServerError

ROWS_LOOKED_AT = 20


class CodeTests(Rule):
    """Pays 1 where the completion's code passes all tests of its row; with `pays: share`, the share
    that it passes.

    The code runs in the sandbox (docs/sandbox.md), once, for this reward and for the grader alike.
    Gamed by code that answers what the tests ask and nothing else, where they are few; and, when
    shares are paid, by code that is right in the easy case alone.
    """

    name: Literal["code_tests"]
    pays: Literal["all", "share"] = "all"

    def open(self, context: Context) -> "CodeScorer":
        return CodeScorer(self, context.deadline_seconds)

    def score(self, rollout: Rollout) -> Score:
        assert rollout.graded is not None
        if rollout.problem.kind != "code":
            raise UserError(
                "reward code_tests: the rows' answers are no tests (answer.kind:"
                f" {rollout.problem.kind}); `data.columns: {{answer: NAME}}` says which column has"
                " them"
            )
        code = rollout.graded.extracted
        if code is None:
            return Score(0.0)
        try:
            share = trial_of(code, rollout.problem.gold).share
        except ForkServerError as error:
            raise GraderError(str(error)) from None
        return Score(share if self.pays == "share" else float(share == 1.0), extracted=code)


class CodeScorer(RuleScorer):
    """Looks at the rows' own solutions first: tests that they fail pay nothing for right code."""

    def look_at(self, problems: Sequence[Problem]) -> list[str]:
        with_solution = [one for one in problems if one.kind == "code" and one.solution]
        asked = with_solution[:ROWS_LOOKED_AT]
        failing = []
        for problem in asked:
            try:
                trial = trial_of(problem.solution, problem.gold)
            except ForkServerError as error:
                raise UserError(f"code_tests: {error}") from None
            if trial.share < 1:
                failing.append(f"{problem.id} ({trial.why})")
        if not failing:
            return []
        return [
            f"code_tests: of {len(asked)} rows, the solutions of {len(failing)} fail their own"
            f" tests: {', '.join(failing)[:300]}"
        ]
