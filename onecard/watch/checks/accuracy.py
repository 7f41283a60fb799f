"""Does accuracy on problems that are not trained on fall, and why?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onecard.watch.alarm import Alarm, alarm
from onecard.watch.history import (
    WINDOW_STEPS,
    History,
    change,
    mean,
    of_newest_model,
    points,
    rise_between,
    values,
)
from onecard.watch.metric_names import CORRECT
from onecard.watch.section import Health

WORSE = "benchmark_worse"
CHANCE = 0.05  # a p-value below it is called more than chance
MORE_CUT = 0.1  # of the answers; assumed
FEWEST_EVALUATIONS = 3  # one to fall from, and two that are lower


@dataclass(frozen=True)
class Fall:
    """Dev accuracy, the mean of the two latest evaluations, below the best one before.

    And what has risen in training since that one.
    """

    of: str
    best: float
    best_step: int
    now: float
    limit: float
    reward_rises: bool
    training_accuracy_rises: bool

    @property
    def metric(self) -> str:
        return f"{self.of}, mean of the last two evaluations"

    @property
    def told(self) -> str:
        when = f"at step {self.best_step}" if self.best_step else "before step 1"
        return f"{self.of} was {self.best:.2f} {when}"

    @property
    def checkpoint(self) -> str:
        if self.best_step:
            return f"the checkpoint of step {self.best_step}"
        return "the model as it was"


def benchmark_worse(step: int, benchmark: str, found: Mapping[str, Any]) -> Alarm | None:
    """A benchmark is worse after training than before, beyond chance.

    `found` is the comparison of the two, as results.json has it.
    """
    difference, after = found["difference"], found["after"]
    change, metric = difference["points"], f"accuracy on {benchmark}, after less before, in points"
    scored = found.get("score_difference")
    if scored and after["no_answer"] == 1.0:  # nobody knows what is right
        difference, change = scored, scored["mean"]
        metric = f"score on {benchmark}, after less before"
    if change >= 0 or difference["p_value"] >= CHANCE:
        return None
    why = ""
    if after["truncated"] > found["before"]["truncated"] + MORE_CUT:
        why = f" {after['truncated']:.0%} of its answers are cut at the token limit now."
    advice = (
        "Training made this worse, and chance alone does so rarely (p"
        f" {difference['p_value']:.2g}).{why} Lower learning_rate, raise beta, train fewer steps,"
        " or take a checkpoint from before."
    )
    return Alarm(WORSE, "alarm", step, metric, change, 0.0, advice)


def accuracy_falls(history: History, health: Health) -> Alarm | None:
    """Dev accuracy falls, and the reward does not rise."""
    fall = dev_fall(history, health)
    if fall is None or fall.reward_rises:
        return None
    advice = (
        f"{fall.told}, and the reward has not risen: training undoes what the model could do. Do"
        " the rewards pay for right answers? Lower learning_rate, raise beta, or go back to"
        f" {fall.checkpoint}."
    )
    return alarm("accuracy_falls", "alarm", history, fall.metric, fall.now, fall.limit, advice)


def overfitting(history: History, health: Health) -> Alarm | None:
    """Dev accuracy falls, while the reward and the accuracy on training problems rise."""
    fall = dev_fall(history, health)
    if fall is None or not (fall.reward_rises and fall.training_accuracy_rises):
        return None
    advice = (
        f"{fall.told}; since then answers to training problems have become better: it learns those"
        " by heart. More training problems, fewer steps, a lower learning_rate, or go back to"
        f" {fall.checkpoint}."
    )
    return alarm("overfitting", "alarm", history, fall.metric, fall.now, fall.limit, advice)


def reward_hacking(history: History, health: Health) -> Alarm | None:
    """Dev accuracy falls, the reward rises, and right answers do not become more."""
    fall = dev_fall(history, health)
    if fall is None or not fall.reward_rises or fall.training_accuracy_rises:
        return None
    measured = "right answers have not"
    if not values(history, CORRECT):
        measured = "nobody knows whether right answers have"
    advice = (
        f"{fall.told}; since then the reward has risen, and {measured}: it may pay for something"
        " else. Read the completions that earn most, change the reward that they exploit, begin"
        " again."
    )
    return alarm("reward_hacking", "alarm", history, fall.metric, fall.now, fall.limit, advice)


def dev_fall(history: History, health: Health) -> Fall | None:
    """The fall of the dev split's accuracy; None where it was not measured, or has not fallen."""
    for key in dev_keys(history):
        found = points(history, key)
        if len(found) < FEWEST_EVALUATIONS:
            continue
        best_step, best = max(found[:-2], key=lambda point: point[1])
        now = mean([value for _, value in found[-2:]])
        if best - now <= health.accuracy_fall:
            continue
        last_step = found[-1][0]
        return Fall(
            key,
            best,
            best_step,
            now,
            limit=best - health.accuracy_fall,
            reward_rises=rises_since(of_newest_model(history), "reward", best_step, last_step),
            training_accuracy_rises=rises_since(history, CORRECT, best_step, last_step),
        )
    return None


def dev_keys(history: History) -> list[str]:
    """The keys of dev accuracies: eval/dev/accuracy, eval/tiny-dev/accuracy."""
    found = {}
    for line in history:
        for key in line:
            if key.startswith("eval/") and key.endswith("dev/accuracy"):
                found[key] = True
    return list(found)


def rises_since(history: History, key: str, best_step: int, last_step: int) -> bool:
    """Whether `key` is higher after `best_step` than up to it, by more than noise.

    Only until the last evaluation, so that what a fall is called does not change between two. From
    before step 1 on: whether it has risen in training.
    """
    found = [(step, value) for step, value in points(history, key) if step <= last_step]
    if best_step == 0:
        rise, noise = change([value for _, value in found])
        return rise > noise
    before = [value for step, value in found if step <= best_step][-WINDOW_STEPS:]
    since = [value for step, value in found if step > best_step][-WINDOW_STEPS:]
    rise, noise = rise_between(before, since)
    return rise > noise
