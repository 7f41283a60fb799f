"""Does the machinery do what it should: gradients, memory, the sampler's weights?"""

from itertools import pairwise
from statistics import median

from onecard.watch.alarm import Alarm, Level, alarm
from onecard.watch.history import WINDOW_STEPS, History, values, window_values
from onecard.watch.metric_names import DRIFT, MEMORY, REJECTED, SKIPPED_IN_A_ROW
from onecard.watch.section import Health

SPIKE = 10.0  # times the window's median; assumed
# A smaller norm is no spike: the default max_grad_norm, below which nothing is clipped.
SMALLEST_SPIKE = 1.0
SPIKES_ALARM = 3  # in one window; assumed
MEMORY_STEPS = 40  # in four quarters, each of which must climb; assumed
MEMORY_CLIMB = 0.01  # of the memory held, a quarter; assumed
DRIFT_STEPS = 3
# Nats; kernels that round differently make some hundredths. Assumed: no card has shown it yet.
LARGEST_DRIFT = 0.2
MOST_REJECTED = 0.25  # of the tokens, in each of DRIFT_STEPS steps; assumed
DRIFT_RISE = 5.0  # times the first steps', where the adapter does nothing yet; assumed
# Nats; less is taken for the rounding of 16 bit, however little there was at first; assumed.
DRIFT_OF_ROUNDING = 0.05


def grad_spikes(history: History, health: Health) -> Alarm | None:
    norms = window_values(history, "grad_norm")
    if len(norms) < WINDOW_STEPS:
        return None
    limit = max(SPIKE * median(norms), SMALLEST_SPIKE)
    spikes = [norm for norm in norms if norm > limit]
    if not spikes:
        return None
    level: Level = "alarm" if len(spikes) >= SPIKES_ALARM else "warn"
    advice = (
        f"{len(spikes)} such in {len(norms)} steps. They are clipped to max_grad_norm, so one does"
        " little harm; if they come often, lower learning_rate or max_grad_norm, and read the"
        " completions of those steps."
    )
    metric = "grad_norm, the largest"
    return alarm("grad_spikes", level, history, metric, max(spikes), limit, advice)


def memory_climbs(history: History, health: Health) -> Alarm | None:
    gib = values(history, MEMORY)[health.memory_settles :][-MEMORY_STEPS:]
    if len(gib) < MEMORY_STEPS:
        return None
    quarter = MEMORY_STEPS // 4
    # What is never given back.
    lowest = [min(gib[start : start + quarter]) for start in range(0, 4 * quarter, quarter)]
    climb = min(later - earlier for earlier, later in pairwise(lowest))
    limit = MEMORY_CLIMB * lowest[0]
    if climb <= limit:
        return None
    advice = (
        f"It holds {gib[-1]:.2f} GiB, and more in every quarter of the last {MEMORY_STEPS}"
        " steps: something is kept from step to step, and in the end memory will not hold it. Does"
        " a reward of your own keep what it is given?"
    )
    metric = f"{MEMORY}, smallest rise in {quarter} steps"
    return alarm("memory_climbs", "alarm", history, metric, climb, limit, advice)


def sampling_drift(history: History, health: Health) -> Alarm | None:
    """More than a limit, or than the first steps' rounding explains.

    Where vLLM lacks the adapter, drift grows with what that learns.
    """
    drifts = values(history, DRIFT)
    recent = drifts[-DRIFT_STEPS:]
    at_first = min(drifts[:DRIFT_STEPS], default=0.0)
    limit = min(LARGEST_DRIFT, max(DRIFT_OF_ROUNDING, DRIFT_RISE * at_first))
    if len(recent) < DRIFT_STEPS or min(recent) <= limit:
        return None
    advice = (
        f"For {len(recent)} steps vLLM's log-probabilities have differed from the trainer's by more"
        " than rounding explains: it does not sample with the adapter that is trained, or not with"
        " its weights. What was learned since is in doubt."
    )
    metric = f"{DRIFT}, nats a token, smallest of {len(recent)} steps"
    return alarm("sampling_drift", "alarm", history, metric, min(recent), limit, advice)


def tokens_rejected(history: History, health: Health) -> Alarm | None:
    recent = values(history, REJECTED)[-DRIFT_STEPS:]
    if len(recent) < DRIFT_STEPS or min(recent) <= MOST_REJECTED:
        return None
    advice = (
        "So many of vLLM's tokens are left out of the loss, because the trainer gives them another"
        " chance: the steps learn from the rest alone. Shorter completions, a model in 16 bit, or"
        " vllm_importance_sampling_mode: token_truncate leave fewer out."
    )
    metric = f"{REJECTED}, smallest of {len(recent)} steps"
    return alarm("tokens_rejected", "alarm", history, metric, min(recent), MOST_REJECTED, advice)


def skipped_steps(history: History, health: Health) -> Alarm | None:
    row = values(history, SKIPPED_IN_A_ROW)[-1:]
    limit = health.skipped_steps
    if not row or row[0] < limit:
        return None
    advice = (
        "So many steps in a row had a NaN or infinite gradient, or no signal at all, and were left"
        " out: lower learning_rate, look at grad_norm and rewards/signal_share, and at what the"
        " rewards return."
    )
    return alarm("skipped_steps", "alarm", history, SKIPPED_IN_A_ROW, row[0], limit, advice)
