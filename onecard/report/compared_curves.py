"""The curves of several runs in one plot, as SVG."""

from collections.abc import Sequence
from statistics import fmean

from onecard.report.curves import as_svg, plain, points_of, thinned
from onecard.report.finished import Arm
from onecard.watch.metric_names import CORRECT

SMOOTHED = 20  # a drawn value is the mean of the last twentieth of the run until then
BEFORE_AND_AFTER = 2  # evaluations that every run has


def draw_arms(arms: Sequence[Arm]) -> tuple[str, str]:
    """The plot's title, and its SVG text: a thin line for each run, a thick one for its arm."""
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    key, title = drawn_metric(arms)
    figure = Figure(figsize=(7.2, 3.8), layout="constrained")
    axes = figure.subplots()
    for number, arm in enumerate(arms):
        curves = [smoothed(points_of(run.metrics, key)) for run in arm.runs]
        if len(curves) > 1:
            for curve in curves:
                shown = zip(*thinned(curve), strict=True)
                axes.plot(*shown, color=f"C{number}", linewidth=0.6, alpha=0.5)
        mean = thinned(mean_of(curves))
        axes.plot(*zip(*mean, strict=True), color=f"C{number}", label=plain(arm.label))
    axes.set(xlabel="step", ylabel=plain(title))
    axes.legend(fontsize=7)
    return title, as_svg(figure)


def drawn_metric(arms: Sequence[Arm]) -> tuple[str, str]:
    """The best metric that all runs have, and what it is."""
    runs = [run for arm in arms for run in arm.runs]
    keys = set.intersection(*({key for line in run.metrics for key in line} for run in runs))
    dev = sorted(
        key
        for key in keys
        if key.startswith("eval/")
        and key.endswith("/accuracy")
        and all(len(points_of(run.metrics, key)) > BEFORE_AND_AFTER for run in runs)
    )
    if dev:
        return dev[0], f"accuracy on {dev[0].split('/')[1]}, greedy"
    graded = any(line.get(CORRECT) for run in runs for line in run.metrics)
    if CORRECT in keys and graded:
        return CORRECT, "share of right completions in training, sampled"
    return ("reward", "reward") if "reward" in keys else ("loss", "loss")


def smoothed(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    width = max(1, len(points) // SMOOTHED)
    return [
        (step, fmean(value for _, value in points[max(0, place - width + 1) : place + 1]))
        for place, (step, _) in enumerate(points)
    ]


def mean_of(curves: Sequence[list[tuple[int, float]]]) -> list[tuple[int, float]]:
    """The mean at every step that all have."""
    values: list[dict[int, float]] = [dict(curve) for curve in curves]
    steps = sorted(set.intersection(*(set(one) for one in values)))
    return [(step, fmean(one[step] for one in values)) for step in steps]
