"""The curves of a run, as SVG."""

import io
from dataclasses import dataclass, field, replace
from typing import Any

from onecard.watch.metric_names import CORRECT, MODEL_SCORE

MOST_POINTS = 1000  # of a line in a chart


@dataclass(frozen=True)
class Curve:
    """`series`: the keys of metrics that are drawn, each with its label; `unit`: of the axis.

    `beside`: more of them, with an axis of their own on the right, in `beside_unit`.
    `with_benchmarks`: the accuracies of evaluations are drawn too.
    """

    title: str
    series: dict[str, str]
    unit: str
    with_benchmarks: bool = False
    beside: dict[str, str] = field(default_factory=dict)
    beside_unit: str = ""


# The stages that are no abbreviations.
IN_WORDS = {"reward_model": "reward model", "distill": "distillation"}
# Of GRPO.
CURVES = {
    "reward": Curve(
        "Reward per step",
        {"reward": "mean", "rewards/best": "best completion", "rewards/worst": "worst completion"},
        "reward",
    ),
    "accuracy": Curve("Accuracy", {CORRECT: "training batches, sampled"}, "share correct", True),
    "length": Curve(
        "Completion length",
        {"completions/mean_length": "mean", "completions/max_length": "longest"},
        "tokens",
    ),
    "kl": Curve("KL from the starting policy", {"kl": "mean per token"}, "nats"),
    "reward-model": Curve(
        "The reward model beside the rule",
        {MODEL_SCORE: "the model: mean score"},
        "score",
        beside={CORRECT: "the rule: share right"},
        beside_unit="share right",
    ),
    "reward-model-learns": Curve(
        "The reward model as it goes on learning",
        {
            "reward_model/ranking": "held-out pairs in order",
            "reward_model/gap": "what it says less what is right",
        },
        "share",
        beside={"reward_model/drift": "drift of its scores"},
        beside_unit="score",
    ),
}
# Of the other stages; GRPO's loss says nothing.
OF_OTHERS = {
    "loss": Curve("Loss", {"loss": "loss"}, "loss"),
    "preferred": Curve(
        "Chosen before rejected",
        {"rewards/accuracies": "pairs of a batch", "accuracy": "pairs of a batch"},
        "share",
    ),
    "length": CURVES["length"],
    "accuracy": Curve("Accuracy", {}, "share correct", True),
}


def curves_of(
    stage: str, metrics: list[dict[str, Any]], named: bool = False
) -> dict[str, tuple[str, str]]:
    """The charts of a stage: each one's title, and its SVG text. `named`: the title says which."""
    found = {}
    for name, curve in (CURVES if stage == "grpo" else OF_OTHERS).items():
        title = f"{title_of(stage)}: {curve.title.lower()}" if named else curve.title
        if svg := draw(metrics, replace(curve, title=title), stage):
            found[name] = (title, svg)
    return found


def draw(metrics: list[dict[str, Any]], curve: Curve, stage: str = "grpo") -> str:
    """One chart as SVG text; "" where the run logged none of its series."""
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    figure = Figure(figsize=(5.2, 2.9), layout="constrained")
    axes = figure.subplots()
    plot(axes, metrics, curve.series)
    if curve.with_benchmarks:
        for key in accuracy_keys(metrics):
            points, label = points_of(metrics, key), f"{plain(key.split('/')[1])}, greedy"
            axes.plot(*zip(*points, strict=True), "o--", label=label, linewidth=1)
        axes.set_ylim(0, 1)
    if not axes.lines:
        return ""
    axes.set(xlabel=f"{title_of(stage)} step", ylabel=curve.unit, title=curve.title)
    lines: list[Any] = list(axes.lines)
    if any(points_of(metrics, key) for key in curve.beside):
        axes = axes.twinx()  # drawn above the other
        plot(axes, metrics, curve.beside, linestyle="--", color="black")
        axes.set_ylabel(curve.beside_unit)
        lines += axes.lines
    axes.legend(lines, [line.get_label() for line in lines], fontsize=7)
    return as_svg(figure)


def plot(axes: Any, metrics: list[dict[str, Any]], series: dict[str, str], **style: Any) -> None:
    """A line for each of the keys that were logged."""
    for key, label in series.items():
        if points := thinned(points_of(metrics, key)):
            axes.plot(*zip(*points, strict=True), label=label, linewidth=1.4, **style)


def reliability(ranker: dict[str, Any], name: str = "reward-model") -> tuple[str, str]:
    """How sure a reward model is of its choice, against how often that is right; and the title."""
    from matplotlib.figure import Figure

    title = f"The {name.replace('-', ' ')}: how sure, how right"
    figure = Figure(figsize=(5.2, 2.9), layout="constrained")
    axes = figure.subplots()
    points = [(point["said"], point["happened"]) for point in ranker["calibration"]]
    axes.plot([0.5, 1], [0.5, 1], "--", linewidth=1, label="as sure as right")
    axes.plot(*zip(*points, strict=True), "o-", linewidth=1.4, label="fifths of the pairs")
    axes.set(xlabel="chance that it gives its choice", ylabel="share right", title=title)
    axes.set_ylim(0, 1)
    axes.legend(fontsize=7)
    return title, as_svg(figure)


def as_svg(figure: Any) -> str:
    for axes in figure.axes:
        if axes.yaxis.get_label_position() == "left":  # one grid is enough
            axes.grid(alpha=0.3)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def title_of(stage: str) -> str:
    """A stage's name as people write it: GRPO, reward model."""
    return IN_WORDS.get(stage, stage.upper())


def points_of(metrics: list[dict[str, Any]], key: str) -> list[tuple[int, float]]:
    """Step and value, wherever `key` was logged."""
    return [(line["step"], line[key]) for line in metrics if line.get(key) is not None]


def thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """As many points as a chart can show, evenly; the last one too."""
    stride = -(-len(points) // MOST_POINTS)
    return points if stride < 2 else [*points[:-1:stride], points[-1]]


def plain(text: str) -> str:
    """A text that matplotlib takes as it is: between two dollar signs it reads formulas."""
    return text.replace("$", r"\$")


def accuracy_keys(metrics: list[dict[str, Any]]) -> list[str]:
    """The keys of accuracies on benchmarks: eval/gsm8k/accuracy."""
    keys = {key for line in metrics for key in line}
    return sorted(key for key in keys if key.startswith("eval/") and key.endswith("/accuracy"))
