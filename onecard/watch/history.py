"""The lines of metrics.jsonl as series of numbers, and whether one of them rises."""

from collections.abc import Sequence
from typing import Any

from onecard.watch.metric_names import MODEL_NUMBER

History = Sequence[dict[str, Any]]  # the lines of metrics.jsonl

ABSURD = 1e100  # what is larger is no measurement, and its square no float
# A level is the mean of so many steps, so that one odd batch is no alarm; assumed.
RECENT_STEPS = 5
# A trend is the first so many steps against the last; assumed.
WINDOW_STEPS = 20
NOISE = 2.0  # standard errors that a rise must exceed to be one: the customary 95 %


def step_of(line: dict[str, Any]) -> int:
    step = line.get("step")
    return step if isinstance(step, int) else 0


def points(history: History, key: str) -> list[tuple[int, float]]:
    """Step and value wherever `key` was logged as a number.

    None, NaN and infinities are left out.
    """
    found = []
    for line in history:
        value = line.get(key)
        if isinstance(value, int | float) and -ABSURD < value < ABSURD:
            found.append((step_of(line), float(value)))
    return found


def of_newest_model(history: History) -> History:
    """The lines since a reward model was renewed last: another model has another scale."""
    numbers = [line.get(MODEL_NUMBER) for line in history]
    known = [number for number in numbers if number is not None]
    return history[numbers.index(known[-1]) :] if known else history


def values(history: History, key: str) -> list[float]:
    return [value for _, value in points(history, key)]


def recent_values(history: History, key: str) -> list[float]:
    """The values of the last steps, enough for a level."""
    return values(history, key)[-RECENT_STEPS:]


def window_values(history: History, key: str) -> list[float]:
    """The values of the last steps, enough for a trend."""
    return values(history, key)[-WINDOW_STEPS:]


def mean(found: Sequence[float]) -> float:
    return sum(found) / len(found)


def change(found: Sequence[float]) -> tuple[float, float]:
    """How much the last window's mean is above the first's, and how much may be noise."""
    size = min(WINDOW_STEPS, len(found) // 2)
    return rise_between(found[:size], found[len(found) - size :])


def rise_between(first: Sequence[float], last: Sequence[float]) -> tuple[float, float]:
    """The rise from one mean to the other, and NOISE standard errors of it.

    Zeros where a side has fewer than two values.
    """
    if min(len(first), len(last)) < 2:
        return 0.0, 0.0
    variance = variance_of_mean(first) + variance_of_mean(last)
    return mean(last) - mean(first), NOISE * variance**0.5


def variance_of_mean(side: Sequence[float]) -> float:
    middle = mean(side)
    squares = sum((value - middle) * (value - middle) for value in side)
    return squares / (len(side) - 1) / len(side)
