"""What a function returned, as outcomes: lists, arrays, tensors, of numbers, bools or None."""

from collections.abc import Sequence
from typing import Any

from onecard.types import Rollout, Score
from rewards.base import Fault, Outcome


def outcomes(returned: Any, rollouts: Sequence[Rollout]) -> list[Outcome]:
    """What a function returned for a batch: a list, tuple, generator, array or tensor of values.

    Raises ValueError where it is something else, or not one for each completion.
    """
    wanted = f"wanted a list of {len(rollouts)} numbers, one for each completion"
    try:
        if isinstance(returned, str | bytes | dict | set):  # to be gone through, and no list
            raise TypeError
        values = iter(returned)
    except TypeError:
        raise ValueError(f"returned {shortened(returned)}; {wanted}") from None
    values = list(values)  # of a generator: what it raises is the function's own
    if len(values) != len(rollouts):
        raise ValueError(f"returned {len(values)} values; {wanted}")
    return [outcome_of(value) for value in values]


def outcome_of(value: Any) -> Score | None:
    """One value as a score. Raises ValueError where it is no number."""
    if value is None or isinstance(value, Score):
        return value
    try:
        if isinstance(value, str | bytes):  # float() would read some
            raise TypeError
        return Score(float(value))  # of numpy and torch too, and True and False
    except (TypeError, ValueError, RuntimeError, ArithmeticError):
        raise ValueError(f"returned {shortened(value)}, wanted a number or None") from None


def outcome_or_fault(value: Any) -> Outcome:
    try:
        return outcome_of(value)
    except ValueError as error:
        return Fault(error)


def as_exception(error: BaseException) -> Exception:
    """What a function ended in; one that tries to end the process has merely failed."""
    return error if isinstance(error, Exception) else RuntimeError("tried to end the process")


def shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
