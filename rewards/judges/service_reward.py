"""What every reward that asks a service has: its keys, its threads, and what it remembers."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from onecard.section import Count, Positive
from onecard.types import Rollout
from rewards.base import Context, Outcome, Reward, Scorer
from rewards.judges.answer_cache import AnswerCache
from rewards.judges.service import Service


def checked_url(url: str) -> str:
    """The url. Raises ValueError where nothing can be asked there."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no port
        usable = False
    if not usable:
        raise ValueError("write it like http://127.0.0.1:8000/score")
    return url


class ServiceReward(Reward):
    """`key_from` names the environment's variable with a key, which is sent as a bearer token and
    is written nowhere. `concurrency` requests are under way at once. An outage is waited out for
    `outage_seconds`; then the run stops. `cache` is a file that remembers answers by the content of
    the question: remove it when the service's idea of a good answer changes. `timeout_seconds` is
    for a request as a whole. `called` is its name in TensorBoard and messages, and tells two
    services of one kind apart.
    """

    url: Annotated[str, AfterValidator(checked_url)]
    called: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$")] | None = None
    key_from: str | None = None
    concurrency: Count = 8
    timeout_seconds: Positive = 30.0
    outage_seconds: Positive = 600.0
    cache: str | None = None

    @property
    def label(self) -> str:
        return self.called or self.name


class ServiceScorer(Scorer):
    """Sends a whole batch at once; grader and other rewards are at work meanwhile.

    A scorer of this kind has `start`, which submits to `threads`.
    """

    reads_verdicts = False

    def __init__(self, reward: ServiceReward, context: Context, url: str) -> None:
        self.service = Service(
            url,
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

    def close(self) -> None:
        self.service.close()
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.cache.close()
