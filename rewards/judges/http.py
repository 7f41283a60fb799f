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
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from onecard.section import Count, Positive
from onecard.types import Rollout, Score
from rewards.base import Context, Outcome, Reward, Scorer, whole_groups
from rewards.judges.answer_cache import AnswerCache
from rewards.judges.service import GarbageError, Service

VERSION = 1


class Http(Reward):
    """Pays what the server at `url` says.

    `key_from` names the environment's variable with a key, which is sent as a bearer token and is
    written nowhere. `groups_per_request` whole groups go into a request, and `concurrency` requests
    are under way at once. `cache` is a file that remembers answers by the content of the question:
    remove it when the server's idea of a good answer changes. An outage is waited out for
    `outage_seconds`; then the run stops.
    """

    name: Literal["http"]
    url: str
    key_from: str | None = None
    groups_per_request: Count = 4
    concurrency: Count = 8
    timeout_seconds: Positive = 30.0
    outage_seconds: Positive = 600.0
    cache: str | None = None

    def open(self, context: Context) -> "HttpScorer":
        return HttpScorer(self, context)


class HttpScorer(Scorer):
    """Sends all groups of a batch at once; grader and other rewards are at work meanwhile."""

    reads_verdicts = False

    def __init__(self, reward: Http, context: Context) -> None:
        self.reward = reward
        self.service = Service(
            reward.url,
            reward=reward.label,
            key_from=reward.key_from,
            timeout_seconds=reward.timeout_seconds,
            outage_seconds=reward.outage_seconds,
            say=context.say,
        )
        self.cache = AnswerCache(reward.cache)
        self.threads = ThreadPoolExecutor(reward.concurrency)

    def score(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        return self.start(rollouts)()

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
        question = [self.reward.url, completions]
        said: list[float | None] | None = self.cache.find(question)
        if said is None:
            message = {"version": VERSION, "completions": completions}
            said = self.service.post(message, lambda answer: read(answer, len(completions)))
            self.cache.keep(question, said)
        return said

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.service.close()
        self.cache.close()


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
