"""Calls a function with a batch: on the main thread, on threads, or on the loop of async ones."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from functools import cache, partial
from typing import Any

from onecard.types import Rollout
from rewards.base import Fault, Outcome, Scorer, whole_batch_failed, whole_groups
from rewards.custom.call import Call
from rewards.custom.returned import as_exception, outcome_of, outcome_or_fault, outcomes
from rewards.deadline import in_parallel, time_limit


class CustomScorer(Scorer):
    """Calls the function on this thread: once a batch, or once for each rollout."""

    def __init__(self, call: Call, deadline_seconds: float) -> None:
        self.call, self.deadline_seconds = call, deadline_seconds

    def score(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        if self.call.takes_one:
            return self.one_by_one(rollouts)
        try:
            with time_limit(self.deadline_seconds, f"reward {self.call.name}"):
                return outcomes(self.call.many(rollouts), rollouts)
        except TimeoutError as error:
            return whole_batch_failed(error, rollouts)
        except (Exception, SystemExit) as error:
            return self.group_by_group(rollouts, as_exception(error))

    def one_by_one(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """A rollout that fails is a fault of its own; what is late is one of all that are left."""
        found: list[Outcome] = []
        try:
            with time_limit(self.deadline_seconds, f"reward {self.call.name}"):
                for rollout in rollouts:
                    try:
                        found.append(outcome_of(self.call.one(rollout)))
                    except (Exception, SystemExit) as error:
                        found.append(Fault(as_exception(error)))
        except TimeoutError as error:
            found += [Fault(error)] * (len(rollouts) - len(found))
        return found

    def group_by_group(self, rollouts: Sequence[Rollout], error: Exception) -> list[Outcome]:
        """After a batch failed: call again, to find the groups that it fails on.

        Where it fails on none of them alone, or on every one, no group is to blame.
        """
        found: list[Outcome] = []
        groups = whole_groups(rollouts)
        try:
            with time_limit(self.deadline_seconds, f"reward {self.call.name}"):
                for group in groups:
                    found += score_group(self.call, group)
        except TimeoutError:
            found = []
        failed = {
            rollout.group
            for rollout, outcome in zip(rollouts, found, strict=False)
            if isinstance(outcome, Fault)
        }
        if not failed or (len(failed) == len(groups) > 1):
            return whole_batch_failed(error, rollouts)
        return found


class ParallelScorer(CustomScorer):
    """Calls the function on threads: for each rollout, or for each whole group."""

    def score(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        if self.call.takes_one:
            jobs = [partial(self.call.one, rollout) for rollout in rollouts]
            values = in_parallel(jobs, self.deadline_seconds)
            return [
                Fault(value) if isinstance(value, Exception) else outcome_or_fault(value)
                for value in values
            ]
        groups = whole_groups(rollouts)
        jobs_of_groups = [partial(score_group, self.call, group) for group in groups]
        found: list[Outcome] = []
        every = in_parallel(jobs_of_groups, self.deadline_seconds)
        for group, scored in zip(groups, every, strict=True):
            found += [Fault(scored)] * len(group) if isinstance(scored, Exception) else scored
        return found


class AsyncScorer(CustomScorer):
    """Awaits the function on one loop that all async rewards share, as in TRL.

    They are under way together, and while the other rewards are at work.
    """

    def score(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        return self.start(rollouts)()

    def start(self, rollouts: Sequence[Rollout]) -> Callable[[], list[Outcome]]:
        waiting = asyncio.wait_for(self.values(rollouts), self.deadline_seconds)
        return partial(self.finish, rollouts, run_on_loop(waiting))

    async def values(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        if not self.call.takes_one:
            return outcomes(await kept_in(self.call.many(rollouts)), rollouts)
        every = [kept_in(self.call.one(rollout)) for rollout in rollouts]
        found = await asyncio.gather(*every, return_exceptions=True)
        return [
            Fault(as_exception(value))
            if isinstance(value, BaseException)
            else outcome_or_fault(value)
            for value in found
        ]

    def finish(
        self, rollouts: Sequence[Rollout], waiting: "Future[list[Outcome]]"
    ) -> list[Outcome]:
        try:
            # The second more is for a function that does not let itself be cancelled.
            return waiting.result(self.deadline_seconds + 1)
        except TimeoutError:
            late = TimeoutError(f"no value within {self.deadline_seconds:g} s")
            return whole_batch_failed(late, rollouts)
        except (Exception, SystemExit) as error:
            return whole_batch_failed(as_exception(error), rollouts)


async def kept_in(waiting: Awaitable[Any]) -> Any:
    """What is awaited; sys.exit() in it would end the loop of all async rewards."""
    try:
        return await waiting
    except SystemExit as error:
        raise as_exception(error) from None


@cache
def async_loop() -> asyncio.AbstractEventLoop:
    """The one loop of all async rewards, on a thread of its own that ends with the process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="async rewards", daemon=True).start()
    return loop


def run_on_loop(coroutine: Coroutine[Any, Any, list[Outcome]]) -> "Future[list[Outcome]]":
    return asyncio.run_coroutine_threadsafe(coroutine, async_loop())


def score_group(call: Call, group: Sequence[Rollout]) -> list[Outcome]:
    """One group alone; a failure is a fault of each of its completions."""
    try:
        return outcomes(call.many(group), group)
    except (Exception, SystemExit) as error:
        return [Fault(as_exception(error))] * len(group)
