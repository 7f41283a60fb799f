"""How well scores tell right completions from wrong ones. Pure."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from eval.statistics import mean_interval
from rewards.judges.ranks import Judged, pairs_of, share_in_order, sigmoid

BINS = 5


def measured(judged: Sequence[Judged]) -> dict[str, Any]:
    """What is known of a reward model, as reward-model.json has it.

    `ranking`: the share of pairs of a right and a wrong completion of one problem in which the
    right one has the higher score, a mean over problems, with a 95 % interval. `calibration`: how
    likely the scores call the right one better, and how often it is. `length`: the correlation of
    scores with the length of completions, and of being right with it.
    """
    groups = pairs_of(judged)
    shares = [share_in_order(pairs) for pairs in groups]
    low, high = mean_interval(shares) if shares else (0.0, 1.0)
    lengths = [float(one.length) for one in judged]
    return {
        "problems": len(groups),
        "pairs": sum(map(len, groups)),
        "ranking": {"accuracy": fmean(shares) if shares else 0.0, "ci_low": low, "ci_high": high},
        "calibration": calibration([pair for pairs in groups for pair in pairs]),
        "length": {
            "of_score": correlation(lengths, [one.score for one in judged]),
            "of_right": correlation(lengths, [float(one.right) for one in judged]),
        },
    }


def calibration(pairs: Sequence[tuple[float, float]]) -> list[dict[str, float]]:
    """A point for each fifth of the pairs, from the least sure to the surest.

    `said`: the mean chance that the model gives to its own choice, 0.5 to 1, by the sigmoid of the
    difference of scores, as its loss has it. `happened`: how often that choice is the right one.
    """
    sure = sorted((sigmoid(abs(right - wrong)), right > wrong) for right, wrong in pairs)
    points = []
    for number in range(BINS):
        part = sure[number * len(sure) // BINS : (number + 1) * len(sure) // BINS]
        if part:
            points.append(
                {
                    "pairs": len(part),
                    "said": fmean(said for said, _ in part),
                    "happened": fmean(float(happened) for _, happened in part),
                }
            )
    return points


def correlation(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Pearson's; None where one of the two does not vary."""
    if len(xs) < 2 or len(set(xs)) == 1 or len(set(ys)) == 1:
        return None
    x, y = fmean(xs), fmean(ys)
    together = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True))
    apart = math.sqrt(sum((a - x) ** 2 for a in xs) * sum((b - y) ** 2 for b in ys))
    return together / apart


def as_sentence(found: dict[str, Any]) -> str:
    """What a person reads on the screen."""
    ranking = found["ranking"]
    length = found["length"]["of_score"]
    told = "" if length is None else f"; its scores go with length by {length:+.2f}"
    return (
        f"it prefers the right one in {ranking['accuracy']:.1%} ({ranking['ci_low']:.1%} to"
        f" {ranking['ci_high']:.1%}) of {found['pairs']} pairs of {found['problems']} problems that"
        f" it was not trained on{told}"
    )
