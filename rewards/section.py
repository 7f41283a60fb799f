"""The recipe's `scoring:`."""

from typing import Literal

from onecard.section import Positive, Section


class Scoring(Section):
    """What happens when a reward fails.

    `stop` ends the run and names reward and problem. `skip_group` leaves the whole group of that
    completion out: no reward moves the policy there, and the fault is counted. `deadline_seconds`
    is for each reward and batch. `cases`: a JSON-lines file of completions of your own, with what
    they may earn (rewards/cases.py).
    """

    on_error: Literal["stop", "skip_group"] = "stop"
    deadline_seconds: Positive = 60.0
    cases: str | None = None
