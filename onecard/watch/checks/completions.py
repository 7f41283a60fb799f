"""Are completions whole, and in the form that is paid?"""

from onecard.watch.alarm import Alarm, alarm
from onecard.watch.history import (
    RECENT_STEPS,
    WINDOW_STEPS,
    History,
    mean,
    recent_values,
    window_values,
)
from onecard.watch.metric_names import CORRECT, FORMAT_PAID
from onecard.watch.section import Health


def completions_cut(history: History, health: Health) -> Alarm | None:
    recent = recent_values(history, "completions/clipped_ratio")
    if len(recent) < RECENT_STEPS or mean(recent) <= health.clipped_ratio:
        return None
    advice = (
        "That share of completions hits max_completion_length before its end and is paid as if it"
        " had no answer: raise it, ask for shorter working in data.system_prompt, or add the"
        " overlong reward."
    )
    metric = f"completions/clipped_ratio, mean of {RECENT_STEPS} steps"
    limit = health.clipped_ratio
    return alarm("completions_cut", "alarm", history, metric, mean(recent), limit, advice)


def format_unpaid(history: History, health: Health) -> Alarm | None:
    right, paid = window_values(history, CORRECT), window_values(history, FORMAT_PAID)
    if len(paid) < WINDOW_STEPS or any(paid) or not right or mean(right) <= 0:
        return None
    advice = (
        f"{mean(right):.0%} of completions are right, yet a reward for their format has paid none"
        f" in {WINDOW_STEPS} steps. Where the chat template itself opens the think block,"
        " completions start inside it: a reward of your own must not ask for <think> then. Else"
        " say in data.system_prompt which tags are wanted."
    )
    return alarm("format_unpaid", "alarm", history, FORMAT_PAID, 0.0, 0.0, advice)
