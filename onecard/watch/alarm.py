"""One thing that is wrong, or worth knowing, at a step: its value, its limit, and what to do."""

from dataclasses import dataclass
from typing import Literal

from onecard.watch.history import History, step_of

Level = Literal["note", "warn", "alarm"]
LEVELS: tuple[Level, ...] = ("note", "warn", "alarm")
# Those that a recipe may let end a training. `loss_near_zero` is missing: it is an explanation.
MAY_STOP = (
    "reward_flat",
    "no_signal",
    "reward_blind",
    "kl",
    "entropy_collapse",
    "completions_cut",
    "format_unpaid",
    "adapter_unchanged",
    "grad_spikes",
    "accuracy_falls",
    "overfitting",
    "reward_hacking",
    "reward_model_hacked",
    "pass_at_g_flat",
    "memory_climbs",
    "sampling_drift",
    "tokens_rejected",
    "skipped_steps",
)


@dataclass(frozen=True)
class Alarm:
    """One condition that holds at `step`.

    `metric` says what `value` is, in the words of metrics.jsonl; `limit` is what it passed.
    """

    name: str
    level: Level
    step: int
    metric: str
    value: float
    limit: float
    advice: str

    @property
    def rank(self) -> int:
        return LEVELS.index(self.level)

    @property
    def text(self) -> str:
        """One line for people."""
        numbers = f"{self.metric}: {self.value:.3g}, limit {self.limit:.3g}"
        return f"{self.level}: {self.name}, step {self.step}: {numbers}. {self.advice}"


def alarm(
    name: str, level: Level, history: History, metric: str, value: float, limit: float, advice: str
) -> Alarm:
    """An alarm at the last step of a history."""
    step = max(map(step_of, history), default=0)
    return Alarm(name, level, step, metric, value, limit, advice)
