"""Is it learning? All checks of a run so far, and which of them are told when."""

from collections import deque
from collections.abc import Callable

from onecard.watch.alarm import Alarm
from onecard.watch.checks.accuracy import accuracy_falls, overfitting, reward_hacking
from onecard.watch.checks.completions import completions_cut, format_unpaid
from onecard.watch.checks.learning import (
    adapter_unchanged,
    entropy_collapse,
    kl,
    loss_near_zero,
    no_signal,
    pass_at_g_flat,
    reward_blind,
    reward_flat,
)
from onecard.watch.checks.mechanics import (
    grad_spikes,
    memory_climbs,
    sampling_drift,
    skipped_steps,
    tokens_rejected,
)
from onecard.watch.checks.models import reward_model_hacked
from onecard.watch.history import History
from onecard.watch.section import Health

# What was told is told again only after it was gone, or milder, for so many steps; assumed.
QUIET_STEPS = 20

CHECKS: dict[str, Callable[[History, Health], Alarm | None]] = {
    "reward_flat": reward_flat,
    "no_signal": no_signal,
    "reward_blind": reward_blind,
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
    "reward_model_hacked": reward_model_hacked,
    "pass_at_g_flat": pass_at_g_flat,
    "memory_climbs": memory_climbs,
    "sampling_drift": sampling_drift,
    "tokens_rejected": tokens_rejected,
    "skipped_steps": skipped_steps,
}


def check_health(history: History, health: Health) -> list[Alarm]:
    """The conditions that hold after the last line of `history`, in the order of CHECKS."""
    found = (check(history, health) for check in CHECKS.values())
    return [alarm for alarm in found if alarm is not None]


class Watch:
    """Tells a condition when it begins and when it worsens.

    Again only after it was gone, or milder, for QUIET_STEPS steps. It remembers nothing that the
    history does not say, so that a resumed run tells what an uninterrupted one would have told.
    """

    def __init__(self, health: Health, history: History) -> None:
        # Of each of the last steps: the rank of each condition's level.
        self.held: deque[dict[str, int]] = deque(maxlen=QUIET_STEPS)
        ends = [end for end, line in enumerate(history, start=1) if "reward" in line]
        for end in ends[-QUIET_STEPS:]:
            self.begun(check_health(history[:end], health))

    def begun(self, now: list[Alarm]) -> list[Alarm]:
        """Of the alarms that hold `now`, after a step, those to be told."""
        new = [alarm for alarm in now if self.is_new(alarm)]
        self.held.append({alarm.name: alarm.rank for alarm in now})
        return new

    def is_new(self, alarm: Alarm) -> bool:
        """Whether it has not held for a while, or only a milder one."""
        return all(alarm.rank > held.get(alarm.name, -1) for held in self.held)
