"""A function in a process of its own: what runs away is killed, which no thread can be."""

import base64
import pickle
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from onecard.types import Rollout
from rewards.base import Fault, Moment, Outcome, Scorer, whole_batch_failed
from rewards.custom.call import Call
from rewards.custom.functions import load_function
from rewards.custom.scorers import AsyncScorer, CustomScorer
from rewards.sandbox.channel import READY, Channel
from rewards.sandbox.client import ForkServer, ForkServerError
from rewards.sandbox.worker import Worker

SERVE = f"{__name__}:serve"
FIRST_SECONDS = 120.0  # for the imports of the user's file, at the first batch of a process
KILLED = "no value within {:g} s, and its process was killed"


class IsolatedScorer(Scorer):
    """Sends whole batches to a process that has the function, and kills it at the deadline.

    The next batch gets a new process, in which the user's file runs once again: what it kept in
    memory is lost.
    """

    def __init__(self, call: Call, deadline_seconds: float) -> None:
        self.call, self.deadline_seconds = call, deadline_seconds
        self.server = ForkServer([__name__], confined=False)
        self.worker = Worker(self.server, SERVE)

    def score(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        state = self.call.moment.trainer_state
        kept = ("global_step", "max_steps", "epoch", "log_history")
        plain = SimpleNamespace(**{name: getattr(state, name, None) for name in kept})
        try:
            if self.worker.channel is None:
                self.worker.ask(packed(self.call.name), FIRST_SECONDS)
            question = packed((list(rollouts), plain, self.deadline_seconds))
            answer = self.worker.ask(question, self.deadline_seconds + 1)
        except TimeoutError:
            return whole_batch_failed(TimeoutError(KILLED.format(self.deadline_seconds)), rollouts)
        except EOFError:
            return whole_batch_failed(RuntimeError("its process died"), rollouts)
        except ForkServerError as error:
            return whole_batch_failed(error, rollouts)
        outcomes, logged = unpacked(answer)
        for name, given in logged:
            getattr(self.call.moment, name)(*given)
        return list(outcomes)

    def close(self) -> None:
        self.worker.stop()
        self.server.close()


def serve(number: int) -> Callable[[], None]:
    """The process: first the function's name, then batch after batch."""

    def work() -> None:
        asker = Channel(number)
        asker.send(READY)
        name, moment = unpacked(asker.receive()), Moment()
        call = Call(name, load_function(name), moment)
        asker.send(packed(None))
        while True:
            try:
                rollouts, state, deadline_seconds = unpacked(asker.receive())
            except EOFError:
                return
            logged: list[tuple[str, tuple[Any, ...]]] = []
            moment.trainer_state = state
            moment.log_extra = lambda *given, to=logged: to.append(("log_extra", given))
            moment.log_metric = lambda *given, to=logged: to.append(("log_metric", given))
            kind = AsyncScorer if call.is_async else CustomScorer
            outcomes = kind(call, deadline_seconds).score(rollouts)
            asker.send(packed(([sendable(one) for one in outcomes], logged)))

    return work


def sendable(outcome: Outcome) -> Outcome:
    """A fault whose exception may be of a class that only the user's file has: in words."""
    if not isinstance(outcome, Fault):
        return outcome
    words = f"{type(outcome.error).__name__}: {outcome.error}"
    return Fault(RuntimeError(words), outcome.whole_batch)


def packed(value: Any) -> str:
    """Any Python value as text. Both ends run the user's own code, so pickle is safe here."""
    return base64.b64encode(pickle.dumps(value)).decode()


def unpacked(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))
