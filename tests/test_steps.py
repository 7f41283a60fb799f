"""How long steps took, read from a run's metrics."""

import pytest

from onecard.report.steps import split_steps

pytestmark = pytest.mark.unit


def line(
    step: int, generation: float, training: float, tokens: float | None
) -> dict[str, float | None]:
    """A step of `tokens` sampled tokens; none in a step that goes over an earlier one's
    completions.
    """
    found: dict[str, float | None] = {
        "step": step,
        "time/generation": generation,
        "time/reward": 0.5,
        "time/training": training,
    }
    return found if tokens is None else found | {"time/tokens_per_second": tokens / generation}


def test_means_over_the_steps_and_tokens_over_the_seconds_that_made_them() -> None:
    split = split_steps(
        [
            line(1, 4.0, 3.0, 800),
            {"step": 1, "eval/tiny-dev/accuracy": 0.5},
            line(2, 1.0, 1.0, 700),
            line(3, 0.0, 2.0, None),
        ]
    )
    assert split is not None
    assert (split.steps, split.reward, split.training) == (3, 0.5, 2.0)
    assert split.generation == pytest.approx(5 / 3)
    assert split.total == pytest.approx(5 / 3 + 2.5)
    assert split.tokens_per_second == pytest.approx(1500 / 5)  # not the mean of 200 and 700


def test_without_times_there_is_no_split_and_without_tokens_no_speed() -> None:
    assert split_steps([{"step": 1, "reward": 0.0}]) is None
    split = split_steps([line(1, 0.0, 2.0, None)])
    assert split is not None
    assert split.tokens_per_second is None
    assert str(split) == "2.5 s per step, mean of 1: generation 0, reward 0.5, training 2"
