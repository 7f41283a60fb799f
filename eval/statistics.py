"""How sure can one be? Intervals for one accuracy, and for the difference of two."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

RESAMPLES = 20_000
FEWEST_TO_RESAMPLE = 10  # changed problems
Z = 1.959964  # 95 %, two-sided


@dataclass(frozen=True)
class Difference:
    """After minus before, in percentage points, with a 95 % interval; `p_value` is two-sided."""

    points: float
    ci_low: float
    ci_high: float
    p_value: float


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval for the mean of one value a problem, each in [0, 1].

    Right or wrong: the Wilson score interval. Shares in between, as k samples a problem give: a
    bootstrap over the problems (percentile, fixed seed), since a problem's samples are not
    independent of one another.
    """
    if len(set(values)) == 1 or set(values) <= {
        0.0,
        1.0,
    }:  # without any spread a bootstrap would claim certainty
        return wilson_interval(float(np.mean(values)), len(values))
    return bootstrap_interval(values)


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share of n problems (Wilson 1927)."""
    middle = share + Z**2 / (2 * n)
    spread = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def newcombe_interval(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """A 95 % interval for the difference of two paired means (Newcombe 1998, method 10).

    It is made of the two means' score intervals, and of how far the problems go together, with
    Newcombe's correction for continuity. That is for right or wrong; of shares in between, which
    vary less, it is too wide rather than too narrow.
    """
    one, other = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    start, end = float(one.mean()), float(other.mean())
    (low_start, high_start), (low_end, high_end) = (
        wilson_interval(start, len(one)),
        wilson_interval(end, len(one)),
    )
    together = float(((one - start) * (other - end)).mean())
    if together > 0:
        together = max(together - 1 / (2 * len(one)), 0.0)
    spread = float(one.std() * other.std())
    correlation = together / spread if spread else 0.0

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))

    difference = end - start
    return difference - reach(end - low_end, high_start - start), difference + reach(
        high_end - end, start - low_start
    )


def paired_difference(before: Sequence[float], after: Sequence[float]) -> Difference:
    """The change on the same problems, with an interval and a test.

    The interval is a paired bootstrap (percentile, fixed seed). Where fewer than 10 problems
    changed, resampling is too sure of itself: then it is Newcombe's interval. The test of
    right-or-wrong outcomes is McNemar's, exact: only the problems whose outcome changed say
    something. For shares in between it is a sign-flip permutation test of the problems'
    differences.
    """
    changes = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    if set(before) | set(after) <= {0.0, 1.0}:
        p_value = mcnemar_test(int((changes > 0).sum()), int((changes < 0).sum()))
    else:
        p_value = sign_flip_test(changes)
    few = np.count_nonzero(changes) < FEWEST_TO_RESAMPLE
    low, high = newcombe_interval(before, after) if few else bootstrap_interval(changes)
    return Difference(float(changes.mean()) * 100, low * 100, high * 100, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, so that one below 0.05 among them is by chance alone in
    5 of 100 cases at most (Holm 1979).
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    found, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        found[place] = largest
    return found


def corrected(differences: Sequence[Difference]) -> list[Difference]:
    """The same with p-values that are corrected for their number."""
    p_values = holm([one.p_value for one in differences])
    return [replace(one, p_value=p) for one, p in zip(differences, p_values, strict=True)]


def mcnemar_test(fixed: int, broken: int) -> float:
    """The exact two-sided p-value of so many problems fixed and broken (McNemar 1947)."""
    from scipy.stats import binomtest  # late: it takes 0.4 s, and --help needs none of it

    return float(binomtest(fixed, fixed + broken, 0.5).pvalue) if fixed + broken else 1.0


@dataclass(frozen=True)
class Change:
    """After minus before of a real-valued score, in its own unit, with a 95 % interval."""

    mean: float
    ci_low: float
    ci_high: float
    p_value: float


def paired_change(before: Sequence[float], after: Sequence[float]) -> Change:
    """The change of any score on the same problems: a paired bootstrap, and a sign-flip test."""
    changes = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    low, high = bootstrap_interval(changes)
    return Change(float(changes.mean()), low, high, sign_flip_test(changes))


def bootstrap_interval(
    values: "Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]",
) -> tuple[float, float]:
    """A 95 % interval for a mean: percentiles of a bootstrap over the problems, fixed seed."""
    low, high = np.percentile(bootstrap_means(np.asarray(values, dtype=float)), [2.5, 97.5])
    return float(low), float(high)


def sign_flip_test(changes: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
    """The two-sided p-value of the problems' changes: as likely up as down?"""
    from scipy.stats import permutation_test  # late, as above

    test = permutation_test(
        (changes,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=200,
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def bootstrap_means(
    values: "np.ndarray[tuple[int], np.dtype[np.float64]]",
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Means of resamples of the problems.

    Problems of equal value are alike, so one resample is one multinomial draw over the values.
    """
    distinct, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(0).multinomial(len(values), counts / len(values), RESAMPLES)
    means: np.ndarray[tuple[int], np.dtype[np.float64]] = draws @ distinct / len(values)
    return means


def pass_at(k: int, samples: int, correct: int) -> float:
    """The chance that one of k completions is right (Chen et al. 2021, eq. 1).

    Unbiased, from `correct` right ones of `samples`.
    """
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def majority(answers: Sequence[Hashable | None], right: Sequence[bool]) -> float:
    """1.0 if the most frequent answer is right. None does not vote; without a vote 0.0.

    Where t answers share the lead, one of them right, it is 1/t: what drawing one of the leaders
    gives on average.
    """
    votes = Counter(answer for answer in answers if answer is not None)
    most = max(votes.values(), default=0)
    leaders = [answer for answer, count in votes.items() if count == most]
    correct = {answer for answer, is_right in zip(answers, right, strict=True) if is_right}
    return sum(answer in correct for answer in leaders) / len(leaders) if leaders else 0.0
