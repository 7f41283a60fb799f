"""How sure can one be? Intervals for one accuracy, and for the difference of two on the same problems."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

RESAMPLES = 20_000


@dataclass(frozen=True)
class Difference:
    """After minus before, in percentage points, with a 95 % interval; `p_value` is two-sided."""

    points: float
    ci_low: float
    ci_high: float
    p_value: float


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of an accuracy of `correct` out of `n`, as shares."""
    interval = binomtest(correct, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def paired_difference(before: list[bool], after: list[bool]) -> Difference:
    """The change on the same problems: exact McNemar test, and a paired bootstrap interval (percentile, fixed seed).

    Only the problems whose outcome changed carry information: `fixed` of them got better, `broken` got worse.
    """
    n = len(before)
    fixed = sum(a and not b for b, a in zip(before, after, strict=True))
    broken = sum(b and not a for b, a in zip(before, after, strict=True))
    p_value = float(binomtest(fixed, fixed + broken, 0.5).pvalue) if fixed + broken else 1.0
    # Resampling problems with replacement is one multinomial draw over fixed, broken and unchanged.
    shares = [fixed / n, broken / n, (n - fixed - broken) / n]
    draws = np.random.default_rng(0).multinomial(n, shares, RESAMPLES)
    low, high = np.percentile((draws[:, 0] - draws[:, 1]) / n * 100, [2.5, 97.5])
    return Difference((fixed - broken) / n * 100, float(low), float(high), p_value)
