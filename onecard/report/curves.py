"""The curves of a run, as SVG."""

import io
from typing import Any

from onecard.watch.metric_names import CORRECT

# title, the metrics.jsonl keys drawn, unit of the vertical axis
CURVES = {
    "reward": (
        "Reward per step",
        {"reward": "mean", "rewards/best": "best completion", "rewards/worst": "worst completion"},
        "reward",
    ),
    "accuracy": (
        "Accuracy",
        {CORRECT: "training batches, sampled"},
        "share correct",
    ),
    "length": (
        "Completion length",
        {"completions/mean_length": "mean", "completions/max_length": "longest"},
        "tokens",
    ),
    "kl": ("KL from the starting policy", {"kl": "mean per token"}, "nats"),
}


def draw(metrics: list[dict[str, Any]], title: str, series: dict[str, str], unit: str) -> str:
    """One chart as SVG text; "" where the run logged none of its series."""
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    figure = Figure(figsize=(5.2, 2.9), layout="constrained")
    axes = figure.subplots()
    for key, label in series.items():
        if points := points_of(metrics, key):
            axes.plot(*zip(*points, strict=True), label=label, linewidth=1.4)
    if title == "Accuracy":
        for key in accuracy_keys(metrics):
            points, label = points_of(metrics, key), f"{key.split('/')[1]}, greedy"
            axes.plot(*zip(*points, strict=True), "o--", label=label, linewidth=1)
        axes.set_ylim(0, 1)
    if not axes.lines:
        return ""
    axes.set(xlabel="GRPO step", ylabel=unit, title=title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def points_of(metrics: list[dict[str, Any]], key: str) -> list[tuple[int, float]]:
    """Step and value, wherever `key` was logged."""
    return [(line["step"], line[key]) for line in metrics if line.get(key) is not None]


def accuracy_keys(metrics: list[dict[str, Any]]) -> list[str]:
    """The keys of accuracies on benchmarks: eval/gsm8k/accuracy."""
    keys = {key for line in metrics for key in line}
    return sorted(key for key in keys if key.startswith("eval/") and key.endswith("/accuracy"))
