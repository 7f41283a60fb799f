"""Is it learning? Checks of metrics.jsonl so far, told in plain words. Every limit is a key of the
recipe's `health:`, with its source.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from onecard.recipe import Health

Level = Literal["note", "warn", "alarm"]
LEVELS: tuple[Level, ...] = ("note", "warn", "alarm")
History = Sequence[dict[str, Any]]  # the lines of metrics.jsonl
ABSURD = 1e100  # what is larger is no measurement, and its square no float
RIGHT = "rewards/correct_answer/mean"
# nats; less is taken for the rounding of 16 bit, however little there was at first; assumed
DRIFT_OF_ROUNDING = 0.05


@dataclass(frozen=True)
class Alarm:
    """One condition that holds at `step`. `metric` says what `value` is, in the words of
    metrics.jsonl; `limit` is what it passed.
    """

    name: str
    level: Level
    step: int
    metric: str
    value: float
    limit: float
    advice: str

    @property
    def text(self) -> str:
        """One line for people."""
        return (
            f"{self.level}: {self.name}, step {self.step}: {self.metric}: {self.value:.3g}, limit"
            f" {self.limit:.3g}. {self.advice}"
        )


def check_health(history: History, settings: "Health") -> list[Alarm]:
    """The conditions that hold after the last line of `history`, in the order of CHECKS. Pure;
    lines may lack any key or value.
    """
    found = (check(history, settings) for check in CHECKS.values())
    return [alarm for alarm in found if alarm is not None]


class Watch:
    """Tells a condition when it begins and when it worsens, and again only after it was gone, or
    milder, for `quiet_steps` steps.

    It remembers nothing that the history does not say, so that a resumed run tells what an
    uninterrupted one would have told.
    """

    def __init__(self, settings: "Health", history: History) -> None:
        self.settings = settings
        self.held: deque[dict[str, int]] = deque(
            maxlen=settings.quiet_steps
        )  # by step: the rank of each condition's level
        ends = [end for end, line in enumerate(history, start=1) if "reward" in line]
        for end in ends[-settings.quiet_steps :]:
            self.begun(check_health(history[:end], settings))

    def begun(self, now: list[Alarm]) -> list[Alarm]:
        """Of the alarms that hold `now`, after a step, those to be told."""
        new = [
            alarm
            for alarm in now
            if all(LEVELS.index(alarm.level) > held.get(alarm.name, -1) for held in self.held)
        ]
        self.held.append({alarm.name: LEVELS.index(alarm.level) for alarm in now})
        return new


def reward_flat(history: History, settings: "Health") -> Alarm | None:
    rewards = values(history, "reward")
    level = by_steps(len(rewards), settings)
    rise, noise = change(rewards, settings)
    if level is None or rise > noise:
        return None
    advice = (
        f"In {len(rewards)} steps the reward has not risen by more than its own noise. Read"
        " completions (TensorBoard, Text): does what they earn depend on what they say? If so: a"
        " higher learning_rate, more prompts a step, or easier problems."
    )
    return alarm(
        "reward_flat",
        level,
        history,
        f"reward, last {settings.window_steps} steps less the first",
        rise,
        noise,
        advice,
    )


def no_signal(history: History, settings: "Health") -> Alarm | None:
    shares = [
        1 - share for share in values(history, "rewards/signal_share")[-settings.window_steps :]
    ]
    if len(shares) < settings.window_steps or mean(shares) < settings.no_signal_warn:
        return None
    level: Level = "alarm" if mean(shares) >= settings.no_signal_alarm else "warn"
    right = values(history, RIGHT)[-settings.window_steps :]
    if right:
        place, told = mean(right), f"correct_answer is {mean(right):.2f}"
    else:  # where the reward stands between the worst and the best completion so far
        lowest, highest = (
            min(values(history, "rewards/worst"), default=0.0),
            max(values(history, "rewards/best"), default=0.0),
        )
        now = mean(values(history, "reward")[-settings.window_steps :] or [0.0])
        place = (now - lowest) / (highest - lowest) if highest > lowest else float(now > 0)
        told = f"the reward is {now:.3g}; completions have earned {lowest:.3g} to {highest:.3g}"
    if place >= 0.8:
        remedy = (
            "Too easy: harder problems, a reward that tells more completions apart, or stop here."
        )
    elif place <= 0.2:
        remedy = (
            "Too hard: easier problems, a warm-up, more num_generations, or a reward that pays for"
            " steps on the way."
        )
    else:
        remedy = (
            "Some problems are too easy and the others too hard: choose those that it solves"
            " sometimes."
        )
    advice = (
        "In that share of groups every completion earns the same, so nothing can be learned from"
        f" them; {told}. {remedy}"
    )
    metric = f"groups without a signal, mean of {settings.window_steps} steps"
    limit = settings.no_signal_alarm if level == "alarm" else settings.no_signal_warn
    return alarm("no_signal", level, history, metric, mean(shares), limit, advice)


def kl(history: History, settings: "Health") -> Alarm | None:
    recent = values(history, "kl")[-settings.recent_steps :]
    if not recent or mean(recent) <= settings.kl_warn:
        return None
    level: Level = "alarm" if mean(recent) > settings.kl_alarm else "warn"
    advice = (
        "The policy is far from where it began; its text may be breaking up. Lower learning_rate,"
        " raise beta, or go back to a checkpoint."
    )
    limit = settings.kl_alarm if level == "alarm" else settings.kl_warn
    return alarm(
        "kl",
        level,
        history,
        f"kl, nats a token, mean of {len(recent)} steps",
        mean(recent),
        limit,
        advice,
    )


def entropy_collapse(history: History, settings: "Health") -> Alarm | None:
    entropies = values(history, "entropy")
    first, recent = entropies[: settings.recent_steps], entropies[-settings.recent_steps :]
    if len(entropies) < 2 * settings.recent_steps or mean(recent) >= settings.entropy_share * mean(
        first
    ):
        return None
    advice = (
        f"It began at {mean(first):.3g}: nearly every token is now certain, so the completions of a"
        " group are alike and little is left to learn from. Higher temperature, larger"
        " epsilon_high, or lower learning_rate."
    )
    metric, limit = (
        f"entropy, nats a token, mean of {len(recent)} steps",
        settings.entropy_share * mean(first),
    )
    return alarm("entropy_collapse", "alarm", history, metric, mean(recent), limit, advice)


def completions_cut(history: History, settings: "Health") -> Alarm | None:
    recent = values(history, "completions/clipped_ratio")[-settings.recent_steps :]
    if len(recent) < settings.recent_steps or mean(recent) <= settings.clipped_ratio:
        return None
    advice = (
        "That share of completions hits max_completion_length before its end and is paid as if it"
        " had no answer: raise it, ask for shorter working in data.system_prompt, or add the"
        " overlong reward."
    )
    metric = f"completions/clipped_ratio, mean of {len(recent)} steps"
    return alarm(
        "completions_cut", "alarm", history, metric, mean(recent), settings.clipped_ratio, advice
    )


def format_unpaid(history: History, settings: "Health") -> Alarm | None:
    right = values(history, RIGHT)[-settings.window_steps :]
    labels = dict.fromkeys(key for line in history for key in line if is_format(key))
    paid = {key: values(history, key)[-settings.window_steps :] for key in labels}
    never = [
        key for key, found in paid.items() if len(found) == settings.window_steps and not any(found)
    ]
    if not never or not right or mean(right) <= 0:
        return None
    advice = (
        f"{mean(right):.0%} of completions are right, yet none was paid for its format in"
        f" {settings.window_steps} steps. Where the chat template itself opens the think block,"
        " completions start inside it: a reward of your own must not ask for <think> then. Else"
        " say in data.system_prompt which tags are wanted."
    )
    return alarm("format_unpaid", "alarm", history, never[0], 0.0, 0.0, advice)


def loss_near_zero(history: History, settings: "Health") -> Alarm | None:
    first = [abs(value) for value in values(history, "loss")[: settings.recent_steps]]
    if len(first) < settings.recent_steps or mean(first) >= settings.loss_near_zero:
        return None
    advice = (
        "That is as it should be: advantages sum to zero in every group, so what GRPO shows as its"
        " loss is about beta times the KL term, which begins at 0 and rises. It says nothing about"
        " learning: watch the reward."
    )
    metric = f"loss, absolute, mean of the first {len(first)} steps"
    return alarm(
        "loss_near_zero", "note", history, metric, mean(first), settings.loss_near_zero, advice
    )


def adapter_unchanged(history: History, settings: "Health") -> Alarm | None:
    norms = values(history, "adapter/lora_b_norm")[-settings.unchanged_steps :]
    if len(norms) < settings.unchanged_steps or max(norms) > min(norms):
        return None
    advice = (
        "Steps are taken and nothing is learned: is there a signal (rewards/signal_share above 0),"
        " a grad_norm above 0, a learning_rate above 0, and are steps/skipped few?"
    )
    metric = f"adapter/lora_b_norm, change over {len(norms)} steps"
    return alarm("adapter_unchanged", "alarm", history, metric, 0.0, 0.0, advice)


def grad_spikes(history: History, settings: "Health") -> Alarm | None:
    norms = values(history, "grad_norm")[-settings.window_steps :]
    if len(norms) < settings.window_steps:
        return None
    limit = max(settings.grad_spike * median(norms), settings.grad_norm)
    spikes = [norm for norm in norms if norm > limit]
    if not spikes:
        return None
    level: Level = "alarm" if len(spikes) >= settings.grad_spikes_alarm else "warn"
    advice = (
        f"{len(spikes)} such in {len(norms)} steps. They are clipped to max_grad_norm, so one does"
        " little harm; if they come often, lower learning_rate or max_grad_norm, and read the"
        " completions of those steps."
    )
    return alarm(
        "grad_spikes", level, history, "grad_norm, the largest", max(spikes), limit, advice
    )


def accuracy_falls(history: History, settings: "Health") -> Alarm | None:
    """Dev accuracy falls, and the reward does not rise."""
    fall = dev_fall(history, settings)
    if fall is None or fall.reward_rises:
        return None
    advice = (
        f"{fall.told}, and the reward has not risen: training undoes what the model could do. Do"
        " the rewards pay for right answers? Lower learning_rate, raise beta, or go back to"
        f" {fall.checkpoint}."
    )
    return alarm("accuracy_falls", "alarm", history, fall.metric, fall.now, fall.limit, advice)


def overfitting(history: History, settings: "Health") -> Alarm | None:
    """Dev accuracy falls, while the reward and the accuracy on training problems rise."""
    fall = dev_fall(history, settings)
    if fall is None or not (fall.reward_rises and fall.training_accuracy_rises):
        return None
    advice = (
        f"{fall.told}; since then answers to training problems have become better: it learns those"
        " by heart. More training problems, fewer steps, a lower learning_rate, or go back to"
        f" {fall.checkpoint}."
    )
    return alarm("overfitting", "alarm", history, fall.metric, fall.now, fall.limit, advice)


def reward_hacking(history: History, settings: "Health") -> Alarm | None:
    """Dev accuracy falls, the reward rises, and right answers to training problems do not become
    more.
    """
    fall = dev_fall(history, settings)
    if fall is None or not fall.reward_rises or fall.training_accuracy_rises:
        return None
    measured = (
        "right answers have not"
        if values(history, RIGHT)
        else "without correct_answer nobody knows whether right answers have"
    )
    advice = (
        f"{fall.told}; since then the reward has risen, and {measured}: it may pay for something"
        " else. Read the completions that earn most, change the reward that they exploit, begin"
        " again."
    )
    return alarm("reward_hacking", "alarm", history, fall.metric, fall.now, fall.limit, advice)


def pass_at_g_flat(history: History, settings: "Health") -> Alarm | None:
    shares = values(history, "rewards/pass@G")
    level = by_steps(len(shares), settings)
    rise, noise = change(shares, settings)
    recent = shares[-settings.window_steps :]
    if level is None or rise > noise or mean(recent) >= settings.pass_at_g_enough:
        return None
    better, luck = change(values(history, RIGHT), settings)
    advice = (
        "Single answers get better, the best of a group does not: training makes it surer of what"
        " it could solve already. More than that needs problems at the edge of what it can do, more"
        " num_generations, or a higher temperature."
        if better > luck
        else (
            "Neither single answers nor the best of a group get better: it finds no more right"
            " answers than at the start. Easier problems, a warm-up, or more num_generations."
        )
    )
    metric = (
        f"rewards/pass@G (now {mean(recent):.2f}), last {settings.window_steps} steps less the"
        " first"
    )
    return alarm("pass_at_g_flat", level, history, metric, rise, noise, advice)


def memory_climbs(history: History, settings: "Health") -> Alarm | None:
    gib = values(history, "memory/gib")[settings.memory_settles :][-settings.memory_steps :]
    if len(gib) < settings.memory_steps:
        return None
    quarter = settings.memory_steps // 4
    lowest = [
        min(gib[start : start + quarter]) for start in range(0, 4 * quarter, quarter)
    ]  # what is never given back
    climbs = [later - earlier for earlier, later in pairwise(lowest)]
    limit = settings.memory_climb * lowest[0]
    if min(climbs) <= limit:
        return None
    advice = (
        f"It holds {gib[-1]:.2f} GiB, and more in every quarter of the last {settings.memory_steps}"
        " steps: something is kept from step to step, and in the end memory will not hold it. Does"
        " a reward of your own keep what it is given?"
    )
    return alarm(
        "memory_climbs",
        "alarm",
        history,
        f"memory/gib, smallest rise in {quarter} steps",
        min(climbs),
        limit,
        advice,
    )


def sampling_drift(history: History, settings: "Health") -> Alarm | None:
    """More than a limit, or than the first steps' rounding explains: where vLLM lacks the adapter,
    drift grows with what that learns.
    """
    drifts, steps = values(history, "sampling/drift"), settings.sampling_drift_steps
    recent = drifts[-steps:]
    limit = min(
        settings.sampling_drift,
        max(DRIFT_OF_ROUNDING, settings.sampling_drift_rise * min(drifts[:steps], default=0.0)),
    )
    if len(recent) < steps or min(recent) <= limit:
        return None
    advice = (
        f"For {len(recent)} steps vLLM's log-probabilities have differed from the trainer's by more"
        " than rounding explains: it does not sample with the adapter that is trained, or not with"
        " its weights. What was learned since is in doubt."
    )
    metric = f"sampling/drift, nats a token, smallest of {len(recent)} steps"
    return alarm("sampling_drift", "alarm", history, metric, min(recent), limit, advice)


def skipped_steps(history: History, settings: "Health") -> Alarm | None:
    row = values(history, "steps/skipped_in_a_row")[-1:]
    if not row or row[0] < settings.skipped_steps:
        return None
    advice = (
        "So many steps in a row had a NaN or infinite gradient, or no signal at all, and were left"
        " out: lower learning_rate, look at grad_norm and rewards/signal_share, and at what the"
        " rewards return."
    )
    return alarm(
        "skipped_steps",
        "alarm",
        history,
        "steps/skipped_in_a_row",
        row[0],
        settings.skipped_steps,
        advice,
    )


CHECKS: dict[str, Callable[[History, "Health"], Alarm | None]] = {
    "reward_flat": reward_flat,
    "no_signal": no_signal,
    "kl": kl,
    "entropy_collapse": entropy_collapse,
    "completions_cut": completions_cut,
    "format_unpaid": format_unpaid,
    "loss_near_zero": loss_near_zero,
    "adapter_unchanged": adapter_unchanged,
    "grad_spikes": grad_spikes,
    "accuracy_falls": accuracy_falls,
    "overfitting": overfitting,
    "reward_hacking": reward_hacking,
    "pass_at_g_flat": pass_at_g_flat,
    "memory_climbs": memory_climbs,
    "sampling_drift": sampling_drift,
    "skipped_steps": skipped_steps,
}
MAY_STOP = tuple(name for name in CHECKS if name != "loss_near_zero")  # that one is an explanation


def alarm(
    name: str, level: Level, history: History, metric: str, value: float, limit: float, advice: str
) -> Alarm:
    return Alarm(name, level, max(map(step_of, history), default=0), metric, value, limit, advice)


def step_of(line: dict[str, Any]) -> int:
    step = line.get("step")
    return step if isinstance(step, int) else 0


def points(history: History, key: str) -> list[tuple[int, float]]:
    """Step and value wherever `key` was logged as a number; None, NaN and infinities are left
    out.
    """
    found = ((step_of(line), line.get(key)) for line in history)
    return [
        (step, float(value))
        for step, value in found
        if isinstance(value, int | float) and -ABSURD < value < ABSURD
    ]


def values(history: History, key: str) -> list[float]:
    return [value for _, value in points(history, key)]


def mean(found: Sequence[float]) -> float:
    return sum(found) / len(found)


def by_steps(steps: int, settings: "Health") -> Level | None:
    """How bad it is that something has not risen in so many steps."""
    return (
        "alarm"
        if steps >= settings.flat_alarm_steps
        else "warn"
        if steps >= settings.flat_warn_steps
        else None
    )


def change(found: Sequence[float], settings: "Health") -> tuple[float, float]:
    """How much the last window's mean is above the first's, and how much of that may be noise."""
    size = min(settings.window_steps, len(found) // 2)
    return risen(found[:size], found[len(found) - size :], settings)


def risen(first: Sequence[float], last: Sequence[float], settings: "Health") -> tuple[float, float]:
    """The rise from one mean to the other, and `settings.noise` standard errors of it. Zeros where
    a side has fewer than two values.
    """
    if min(len(first), len(last)) < 2:
        return 0.0, 0.0
    squares = [
        sum((value - mean(side)) * (value - mean(side)) for value in side)
        / (len(side) - 1)
        / len(side)
        for side in (first, last)
    ]
    return mean(last) - mean(first), settings.noise * sum(squares) ** 0.5


def is_format(key: str) -> bool:
    """Whether a key of metrics.jsonl is the mean of a reward that pays for layout."""
    parts = key.split("/")
    return (
        len(parts) == 3
        and (parts[0], parts[2]) == ("rewards", "mean")
        and ("format" in parts[1] or parts[1] == "tag_count")
    )


@dataclass(frozen=True)
class Fall:
    """Dev accuracy, the mean of the two latest evaluations, below the best one before; and what
    rose in training since that one.
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
        return f"{self.of} was {self.best:.2f} " + (
            f"at step {self.best_step}" if self.best_step else "before step 1"
        )

    @property
    def checkpoint(self) -> str:
        return (
            f"the checkpoint of step {self.best_step}" if self.best_step else "the model as it was"
        )


def dev_fall(history: History, settings: "Health") -> Fall | None:
    for key in dict.fromkeys(
        key
        for line in history
        for key in line
        if key.startswith("eval/") and key.endswith("dev/accuracy")
    ):
        found = points(history, key)
        if len(found) < 3:
            continue
        best_step, best = max(found[:-2], key=lambda point: point[1])
        now = mean([value for _, value in found[-2:]])
        if best - now <= settings.accuracy_fall:
            continue
        rises = [
            rises_since(history, of, best_step, found[-1][0], settings) for of in ("reward", RIGHT)
        ]
        return Fall(key, best, best_step, now, best - settings.accuracy_fall, *rises)
    return None


def rises_since(
    history: History, key: str, best_step: int, last_step: int, settings: "Health"
) -> bool:
    """Whether `key` is higher after `best_step` than up to it, by more than noise; until the last
    evaluation, so that it does not change between two what a fall is called."""
    found = [(step, value) for step, value in points(history, key) if step <= last_step]
    if best_step == 0:  # before training: whether it has risen in training
        rise, noise = change([value for _, value in found], settings)
    else:
        before = [value for step, value in found if step <= best_step][-settings.window_steps :]
        rise, noise = risen(
            before,
            [value for step, value in found if step > best_step][-settings.window_steps :],
            settings,
        )
    return rise > noise
