"""Which problems of training were solved when: from groups.jsonl of a run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onecard.files.formats import read_jsonl
from onecard.report.curves import as_svg, plain, points_of, thinned
from onecard.run.round import groups_file

NEVER_SHOWN = 10  # problems


@dataclass
class Asked:
    """A problem of training. `asked`: the steps; `right`: shares of right completions, as often."""

    problem: str
    asked: list[int] = field(default_factory=list)
    right: list[float] = field(default_factory=list)

    @property
    def solved(self) -> int | None:
        """The first step at which a completion was right."""
        return next(
            (step for step, share in zip(self.asked, self.right, strict=True) if share), None
        )


@dataclass(frozen=True)
class Problems:
    """Of a run. `never`: asked most often without one right completion; perhaps their answer is
    wrong."""

    asked: int
    solved: int
    lost: int  # solved once, and not the last time that they were asked
    groups: int
    never: list[Asked]


def read_problems(folder: Path) -> dict[str, Asked]:
    """Every problem that was asked in training, in the order of its first step."""
    found: dict[str, Asked] = {}
    file = folder / groups_file(None)
    for line in read_jsonl(file, unfinished=True) if file.is_file() else ():
        for problem, right, completions in line["groups"]:
            one = found.setdefault(problem, Asked(problem))
            one.asked.append(line["step"])
            one.right.append(right / completions)
    return found


def summarize(problems: dict[str, Asked]) -> Problems | None:
    """None where no problem was asked: GRPO alone writes it down."""
    if not problems:
        return None
    every = list(problems.values())
    solved = [one for one in every if one.solved is not None]
    never = sorted((one for one in every if one.solved is None), key=lambda one: -len(one.asked))
    return Problems(
        asked=len(every),
        solved=len(solved),
        lost=sum(not one.right[-1] for one in solved),
        groups=sum(len(one.asked) for one in every),
        never=[one for one in never if len(one.asked) > 1][:NEVER_SHOWN],
    )


def draw_problems(problems: dict[str, Asked], metrics: list[dict[str, Any]]) -> dict[str, Any]:
    """The chart of problems by step, and of pass rates by difficulty where a run has them."""
    from matplotlib.figure import Figure  # not pyplot: no display, no global state

    found = {}
    if problems:
        title = "Problems of training"
        figure = Figure(figsize=(5.2, 2.9), layout="constrained")
        axes = figure.subplots()
        firsts = sorted(one.asked[0] for one in problems.values())
        solved = sorted(one.solved for one in problems.values() if one.solved is not None)
        for steps, label in ((firsts, "asked"), (solved, "solved at least once")):
            axes.plot([0, *steps], range(len(steps) + 1), label=label, linewidth=1.4)
        axes.set(xlabel="GRPO step", ylabel="problems", title=title)
        axes.legend(fontsize=7)
        found["problems"] = (title, as_svg(figure))
    levels = sorted({key for line in metrics for key in line if key.startswith("problems/")})
    if len(levels) > 1:
        title = "Pass rate by difficulty, as it is believed"
        figure = Figure(figsize=(5.2, 2.9), layout="constrained")
        axes = figure.subplots()
        for key in levels:
            label = plain(key.removeprefix("problems/"))
            points = thinned(points_of(metrics, key))
            axes.plot(*zip(*points, strict=True), label=label, linewidth=1.2)
        axes.set(xlabel="GRPO step", ylabel="share right", title=title)
        axes.set_ylim(0, 1)
        axes.legend(fontsize=7)
        found["difficulty"] = (title, as_svg(figure))
    return found
