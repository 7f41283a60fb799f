"""A service that answers over HTTP: asked with patience, and never taken for a zero.

A request that fails is made again, later and later. While the service is down one request tries it
and all others wait, so that it is not flooded when it comes back. What it must not do is become a
score: after `outage_seconds` without a single answer the run stops, and can be resumed.
"""

import os
import random
import threading
import time
from collections.abc import Callable
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


class GarbageError(Exception):
    """It answered, and what it answered cannot be used."""


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
        """Raises UserError where the environment has no `key_from`."""
        import httpx  # 0.1 s

        self.url, self.reward, self.say = url, reward, say
        self.outage_seconds = outage_seconds
        headers = {}
        if key_from is not None:
            key = os.environ.get(key_from)
            if not key:
                raise UserError(
                    f"reward {reward}: the environment has no {key_from}, from which its key is"
                    f" read; `export {key_from}=...`"
                )
            headers["Authorization"] = f"Bearer {key}"
        self.http = httpx
        self.client = httpx.Client(headers=headers, timeout=timeout_seconds)
        self.lock = threading.Lock()
        self.trying = threading.Lock()  # held by the one request that tries a service that is down
        self.closed = threading.Event()  # nobody waits any longer
        self.failures = 0  # since the last answer
        self.asked_to_wait = 0.0  # seconds, by the service itself
        self.answered_at: float | None = None
        self.down_since: float | None = None
        self.random = random.Random(0)  # for jitter alone

    @property
    def where(self) -> str:
        """The address without what may be secret: user, password and query."""
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"

    def post(self, message: Any, read: Callable[[Any], T]) -> T:
        """What `read` makes of the answer to a message; it raises GarbageError for what is no use.

        Raises RunFailed where the service is down for too long, refuses the request, or answers
        with garbage again and again; UserError where it was never there.
        """
        garbage = 0
        while True:
            answer = self.try_later(message) if self.failures else self.try_once(message)
            if answer is None:
                continue
            try:
                return read(self.content(answer))
            except GarbageError as error:
                garbage += 1
                if garbage == TRIES_OF_GARBAGE:
                    raise RunFailed(
                        f"reward {self.reward}: {self.where} answered {garbage} times with what"
                        f" cannot be used: {error}"
                    ) from None

    def try_later(self, message: Any) -> Any:
        """Where the service is down: one request at a time, after a wait. None: try again."""
        with self.trying:
            if not self.failures:
                return None
            if self.closed.wait(self.wait()):
                raise RunFailed(f"reward {self.reward}: the run ends while {self.where} is down")
            return self.try_once(message)

    def try_once(self, message: Any) -> Any:
        """The answer; None where there was none, and another try is worth it."""
        try:
            answer = self.client.post(self.url, json=message)
        except self.http.HTTPError as error:
            self.failed(type(error).__name__)
            return None
        status = answer.status_code
        if status >= 500 or status in WORTH_ANOTHER_TRY:
            self.failed(f"status {status}", answer.headers.get("Retry-After"))
            return None
        if status >= 400:
            raise RunFailed(
                f"reward {self.reward}: {self.where} refuses the request with status {status}:"
                f" {answer.text[:LONGEST_SHOWN]}"
            )
        self.succeeded()
        return answer

    def content(self, answer: Any) -> Any:
        try:
            return answer.json()
        except ValueError:
            raise GarbageError(f"no JSON, but {answer.text[:LONGEST_SHOWN]!r}") from None

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
