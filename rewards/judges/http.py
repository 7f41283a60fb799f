"""Scores from a server of the user's own, in any language, on any machine.

A POST with some completions, whole groups of them:

    {"version": 1, "completions": [
        {"problem": "17", "group": 0, "question": "...", "answer": "...", "completion": "...",
         "truncated": false, "columns": {...}}, ...]}

The answer, a number for each completion, in order; null where the reward does not apply:

    {"scores": [1.0, 0.0, null]}

examples/reward_server.py is such a server.
"""

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from onecard.section import Count
from onecard.types import Rollout, Score
from rewards.base import Context, Outcome, whole_groups
from rewards.judges.service import GarbageError
from rewards.judges.service_reward import ServiceReward, ServiceScorer

VERSION = 1


class Http(ServiceReward):
    """Pays what the server at `url` says. `groups_per_request` whole groups go into a request."""

    name: Literal["http"]
    groups_per_request: Count = 4

    def open(self, context: Context) -> "HttpScorer":
        return HttpScorer(self, context)


class HttpScorer(ServiceScorer):
    """Sends some whole groups in a request."""

    def __init__(self, reward: Http, context: Context) -> None:
        super().__init__(reward, context, reward.url)
        self.reward = reward

    def start(self, rollouts: Sequence[Rollout]) -> Callable[[], list[Outcome]]:
        groups, at_once = whole_groups(rollouts), self.reward.groups_per_request
        requests = []
        for first in range(0, len(groups), at_once):
            asked = []
            for number, group in enumerate(groups[first : first + at_once]):
                asked += [described(rollout, number) for rollout in group]
            requests.append(self.threads.submit(self.ask, asked))

        def finish() -> list[Outcome]:
            outcomes: list[Outcome] = []
            for request in requests:
                for score in request.result():
                    outcomes.append(None if score is None else Score(score))
            return outcomes

        return finish

    def ask(self, completions: list[dict[str, Any]]) -> list[float | None]:
        message = {"version": VERSION, "completions": completions}
        post = partial(self.service.post, message, partial(read, count=len(completions)))
        return self.remembered([self.reward.url, completions], post)


def described(rollout: Rollout, group: int) -> dict[str, Any]:
    """A completion as a request has it; `group` counts the groups of that request."""
    problem = rollout.problem
    return {
        "problem": problem.id,
        "group": group,
        "question": problem.question,
        "answer": problem.gold,
        "completion": rollout.text,
        "truncated": rollout.truncated,
        "columns": json.loads(json.dumps(dict(problem.columns), default=str)),
    }


def read(answer: Any, count: int) -> list[float | None]:
    """The scores of an answer. Raises GarbageError where there is not one for each completion."""
    scores = answer.get("scores") if isinstance(answer, dict) else None
    if not isinstance(scores, list) or len(scores) != count:
        raise GarbageError(f'wanted {{"scores": [...]}} with {count} numbers, got {answer!r:.200}')
    for score in scores:
        number = isinstance(score, int | float) and not isinstance(score, bool)
        if score is not None and not (number and math.isfinite(score)):
            raise GarbageError(f"{score!r} is no finite number, and not null")
    return scores
