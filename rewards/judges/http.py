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
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from onecard.section import Count
from onecard.types import Rollout, Score
from rewards.base import Context, Outcome, whole_groups
from rewards.judges.service import GarbageError, is_finite
from rewards.judges.service_reward import ServiceReward, ServiceScorer

VERSION = 1
Group = list[dict[str, Any]]  # the completions of a problem, as a request has them


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
        groups = [[described(rollout) for rollout in group] for group in whole_groups(rollouts)]
        at_once = self.reward.groups_per_request
        requests = [
            self.threads.submit(self.ask, groups[first : first + at_once])
            for first in range(0, len(groups), at_once)
        ]

        def finish() -> list[Outcome]:
            outcomes: list[Outcome] = []
            for request in requests:
                for score in request.result():
                    outcomes.append(None if score is None else Score(score))
            return outcomes

        return finish

    def ask(self, groups: list[Group]) -> list[float | None]:
        """The scores of all completions; groups that were asked about before are remembered."""
        questions = [[self.reward.url, group] for group in groups]
        said = [self.cache.find(question) for question in questions]
        new = [place for place, scores in enumerate(said) if scores is None]
        if new:
            completions = [
                one | {"group": number} for number, place in enumerate(new) for one in groups[place]
            ]
            message = {"version": VERSION, "completions": completions}
            scores = iter(self.service.post(message, partial(read, count=len(completions))))
            for place in new:
                said[place] = [next(scores) for _ in groups[place]]
                self.cache.keep(questions[place], said[place])
        return [score for scores in said for score in scores]


def described(rollout: Rollout) -> dict[str, Any]:
    """A completion as a request has it; that counts its groups too, as `group`."""
    problem = rollout.problem
    return {
        "problem": problem.id,
        "question": problem.question,
        "answer": problem.gold,
        "completion": rollout.text,
        "truncated": rollout.truncated,
        "columns": json.loads(json.dumps(dict(problem.columns), default=str)),
    }


def read(answer: Any, seconds: float, count: int) -> list[float | None]:
    """The scores of an answer, however long it took.

    Raises GarbageError where there is not one for each completion.
    """
    scores = answer.get("scores") if isinstance(answer, dict) else None
    if not isinstance(scores, list) or len(scores) != count:
        raise GarbageError(f'wanted {{"scores": [...]}} with {count} numbers, got {answer!r:.200}')
    for score in scores:
        if score is not None and not is_finite(score):
            raise GarbageError(f"{score!r:.50} is no finite number, and not null")
    return scores
