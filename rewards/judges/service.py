"""A service that answers over HTTP: asked with patience, and never taken for a zero.

A request that fails is made again, later and later. While the service is down one request tries it
and all others wait, so that it is not flooded when it comes back. What it must not do is become a
score: after `outage_seconds` without a single answer the run stops, and can be resumed.
"""

import json
import math
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from onecard.types import RunFailed, UserError

T = TypeVar("T")
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 30.0
FIRST_CONTACT_SECONDS = 10.0  # a service that never answered is not down: it was not started
TRIES_OF_GARBAGE = 3
# What a later request may have better luck with. Any other 4xx is a request that is wrong.
WORTH_ANOTHER_TRY = {408, 409, 425, 429}
LONGEST_SHOWN = 200  # characters of what it answered
LARGEST_ANSWER = 16 << 20  # bytes
HERE = ("localhost", "127.0.0.1", "::1")


class GarbageError(Exception):
    """It answered, and what it answered cannot be used."""


@dataclass(frozen=True)
class Answer:
    """What came back, and after how many seconds. The key does not stand in `body`."""

    status: int
    retry_after: str | None
    body: bytes
    seconds: float

    @property
    def shown(self) -> str:
        return repr(self.body.decode("utf-8", "replace")[:LONGEST_SHOWN])

    def content(self) -> Any:
        """The JSON. Raises GarbageError."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise GarbageError(f"no JSON, but {self.shown}") from None


class Service:
    """One endpoint. `post` may be called from several threads."""

    def __init__(
        self,
        url: str,
        *,
        reward: str,
        key_from: str | None,
        timeout_seconds: float,
        outage_seconds: float,
        say: Callable[[str], None],
    ) -> None:
        """Raises UserError where the environment has no `key_from`, or no key in it."""
        import httpx  # 0.1 s

        self.url, self.reward, self.say = url, reward, say
        self.timeout_seconds, self.outage_seconds = timeout_seconds, outage_seconds
        self.key = read_key(reward, key_from)
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        self.http = httpx
        # What is on this machine is not asked through a proxy.
        through_proxy = urlsplit(url).hostname not in HERE
        self.client = httpx.Client(
            headers=headers, timeout=timeout_seconds, trust_env=through_proxy
        )
        self.lock = threading.Lock()
        self.trying = threading.Lock()  # held by the one request that tries a service that is down
        self.closed = threading.Event()  # nobody waits any longer
        self.failures = 0  # since the last answer
        self.asked_to_wait = 0.0  # seconds, by the service itself
        self.answered_at: float | None = None
        self.down_since: float | None = None
        self.random = random.Random()  # for jitter alone: other askers wait otherwise

    @property
    def where(self) -> str:
        """The address without what may be secret: user, password and query."""
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"

    def post(self, message: Any, read: Callable[[Any, float], T]) -> T:
        """What `read` makes of the answer to a message and of the seconds that it took.

        It raises GarbageError for what is no use. Raises RunFailed where the service is down for
        too long, refuses the request, or answers with garbage again and again; UserError where it
        was never there.
        """
        body = json.dumps(without_odd_values(message)).encode()
        garbage = 0
        while True:
            answer = self.try_later(body) if self.failures else self.try_once(body)
            if answer is None:
                continue
            try:
                return read(answer.content(), answer.seconds)
            except GarbageError as error:
                garbage += 1
                if garbage == TRIES_OF_GARBAGE:
                    raise RunFailed(
                        f"reward {self.reward}: {self.where} answered {garbage} times with what"
                        f" cannot be used: {error}"
                    ) from None
            if self.closed.wait(FIRST_WAIT_SECONDS * 2.0 ** (garbage - 1)):
                raise RunFailed(f"reward {self.reward}: the run ends")

    def try_later(self, body: bytes) -> Answer | None:
        """Where the service is down: one request at a time, after a wait. None: try again."""
        with self.trying:
            if not self.failures:
                return None
            if self.closed.wait(self.wait()):
                raise RunFailed(f"reward {self.reward}: the run ends while {self.where} is down")
            return self.try_once(body)

    def try_once(self, body: bytes) -> Answer | None:
        """The answer; None where there was none, and another try is worth it."""
        try:
            answer = self.exchange(body)
        except self.http.HTTPError as error:
            self.failed(type(error).__name__)
            return None
        if answer.status >= 500 or answer.status in WORTH_ANOTHER_TRY:
            self.failed(f"status {answer.status}", answer.retry_after)
            return None
        if answer.status >= 300:
            raise RunFailed(
                f"reward {self.reward}: {self.where} refuses the request with status"
                f" {answer.status}: {answer.shown}"
            )
        self.succeeded()
        return answer

    def exchange(self, body: bytes) -> Answer:
        """One request. Raises httpx's errors, and its ReadTimeout for an answer without an end.

        httpx's own limit is for each read, and not for the answer as a whole.
        """
        begun = time.monotonic()
        parts, size = [], 0
        with self.client.stream("POST", self.url, content=body) as answer:
            for part in answer.iter_bytes():
                size += len(part)
                if time.monotonic() - begun > self.timeout_seconds or size > LARGEST_ANSWER:
                    raise self.http.ReadTimeout("an answer without an end")
                parts.append(part)
        said = b"".join(parts)
        if self.key:  # a server that repeats it must not get it into a message
            said = said.replace(self.key.encode(), b"***")
        seconds = time.monotonic() - begun
        return Answer(answer.status_code, answer.headers.get("Retry-After"), said, seconds)

    def wait(self) -> float:
        """Seconds until the next try: longer each time, and never the same for two askers."""
        longest = min(FIRST_WAIT_SECONDS * 2.0 ** (self.failures - 1), LONGEST_WAIT_SECONDS)
        return max(longest * self.random.uniform(0.5, 1.0), self.asked_to_wait)

    def failed(self, why: str, retry_after: str | None = None) -> None:
        """Count a failure, and tell the first. Raises RunFailed or UserError after too long."""
        with self.lock:
            now = time.monotonic()
            self.failures += 1
            later = retry_after if retry_after and retry_after.isdigit() else 0
            self.asked_to_wait = min(float(later), LONGEST_WAIT_SECONDS)
            if self.down_since is None:
                self.down_since = now
                if self.answered_at is not None:
                    self.say(
                        f"reward {self.reward}: {self.where} does not answer ({why}); waiting up"
                        f" to {self.outage_seconds:g} s"
                    )
            down = now - self.down_since
        if self.answered_at is None and down > min(FIRST_CONTACT_SECONDS, self.outage_seconds):
            raise UserError(
                f"reward {self.reward}: {self.where} does not answer ({why}); start the service, or"
                " correct its url"
            )
        if down > self.outage_seconds:
            raise RunFailed(
                f"reward {self.reward}: {self.where} has not answered for {down:.0f} s ({why});"
                " `--resume` goes on from the last checkpoint when it is back"
            )

    def succeeded(self) -> None:
        with self.lock:
            if self.failures and self.answered_at is not None and self.down_since is not None:
                down = time.monotonic() - self.down_since
                self.say(f"reward {self.reward}: {self.where} answers again, after {down:.0f} s")
            self.failures, self.down_since, self.asked_to_wait = 0, None, 0.0
            self.answered_at = time.monotonic()

    def close(self) -> None:
        """Let go of the connections, and of the requests that wait for the end of an outage."""
        self.closed.set()
        self.client.close()


def read_key(reward: str, key_from: str | None) -> str | None:
    """The key in the environment's variable `key_from`. Raises UserError where there is none."""
    if key_from is None:
        return None
    key = os.environ.get(key_from, "").strip()
    if not key:
        raise UserError(
            f"reward {reward}: the environment has no {key_from}, from which its key is read;"
            f" `export {key_from}=...`"
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"reward {reward}: what the environment has as {key_from} is no key: no header can"
            " have its characters"
        )
    return key


def without_odd_values(value: Any) -> Any:
    """A message without what JSON has no word for.

    NaN and infinity become null; half of a surrogate pair becomes a question mark.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {without_odd_values(key): without_odd_values(one) for key, one in value.items()}
    if isinstance(value, list):
        return [without_odd_values(one) for one in value]
    return value


def is_finite(score: Any) -> bool:
    """Whether it is a number, and no larger than numbers are."""
    if isinstance(score, bool) or not isinstance(score, int | float):
        return False
    try:
        return math.isfinite(score)
    except OverflowError:  # a whole number of hundreds of digits
        return False
