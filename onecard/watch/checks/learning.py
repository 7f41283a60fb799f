"""Is there something to learn from, and is it learned?"""

from onecard.watch.alarm import Alarm, Level, alarm
from onecard.watch.history import (
    RECENT_STEPS,
    WINDOW_STEPS,
    History,
    change,
    mean,
    of_newest_model,
    recent_values,
    values,
    window_values,
)
from onecard.watch.metric_names import CORRECT, LORA_B_NORM, PASS_AT_G, SAME_TEXT, SIGNAL_SHARE
from onecard.watch.section import Health

# Of groups; assumed. DAPO (arXiv 2503.14476) draws anew until none is without a signal.
NO_SIGNAL_WARN = 0.8
NO_SIGNAL_ALARM = 0.95  # assumed: nearly every step is for nothing
TOO_EASY, TOO_HARD = 0.8, 0.2  # share of right completions, or of the best reward; assumed
# Of the first steps' entropy; assumed. arXiv 2505.22617: gains are spent when entropy is.
ENTROPY_SHARE = 0.05
MIXED = 0.02  # of the groups, at least, with right and wrong completions; assumed
PASS_AT_G_ENOUGH = 0.9  # then it need not rise; assumed
NEAR_ZERO = 0.01  # of the loss; an explanation, no fault: TRL's issue 2703
UNCHANGED_STEPS = 5  # assumed; more than SFT's first step, whose learning rate is 0


def reward_flat(history: History, health: Health) -> Alarm | None:
    rewards = values(of_newest_model(history), "reward")
    level = by_steps(len(rewards), health)
    rise, noise = change(rewards)
    if level is None or rise > noise:
        return None
    advice = (
        f"In {len(rewards)} steps the reward has not risen by more than its own noise. Read"
        " completions (TensorBoard, Text): does what they earn depend on what they say? If so: a"
        " higher learning_rate, more prompts a step, or easier problems."
    )
    metric = f"reward, last {WINDOW_STEPS} steps less the first"
    return alarm("reward_flat", level, history, metric, rise, noise, advice)


def reward_blind(history: History, health: Health) -> Alarm | None:
    """The grader tells completions apart, and the rewards pay them all alike."""
    signals, right = window_values(history, SIGNAL_SHARE), window_values(history, CORRECT)
    solved = window_values(history, PASS_AT_G)
    if any(signals) or min(map(len, (signals, right, solved))) < WINDOW_STEPS:
        return None
    # Where groups have right and wrong completions, more problems are solved than are right.
    mixed = mean(solved) - mean(right)
    if mixed < MIXED:
        return None
    advice = (
        "The grader calls some completions right and others wrong, and the rewards pay all of a"
        " group alike: your reward function is at fault, not the problems. `python -m rewards"
        " RECIPE --self-test` shows what it pays, and for what."
    )
    metric = f"{PASS_AT_G} less {CORRECT}, last {WINDOW_STEPS} steps"
    return alarm("reward_blind", "alarm", history, metric, mixed, MIXED, advice)


def no_signal(history: History, health: Health) -> Alarm | None:
    shares = [1 - share for share in window_values(history, SIGNAL_SHARE)]
    if len(shares) < WINDOW_STEPS or mean(shares) < NO_SIGNAL_WARN:
        return None
    level: Level = "alarm" if mean(shares) >= NO_SIGNAL_ALARM else "warn"
    limit = NO_SIGNAL_ALARM if level == "alarm" else NO_SIGNAL_WARN
    place, told = how_hard(history)
    blind = reward_blind(history, health)
    remedy = (
        "Some problems are too easy and the others too hard: choose those that it solves sometimes,"
        " as grpo.dynamic_sampling={choose: by_pass_rate} does."
    )
    same_text = mean(window_values(history, SAME_TEXT) or [0.0])
    if blind:
        remedy = blind.advice
    elif same_text > mean(shares) / 2:
        remedy = (
            "In most of them they are the same text: the policy has nothing else to say. A higher"
            " temperature, fewer steps of SFT, or a lower learning_rate."
        )
    elif place >= TOO_EASY:
        remedy = (
            "Too easy: harder problems, a reward that tells more completions apart, or stop here."
        )
    elif place <= TOO_HARD:
        remedy = (
            "Too hard: easier problems, SFT first, more num_generations, or a reward that pays for"
            " steps on the way."
        )
    advice = (
        "In that share of groups every completion earns the same, so nothing can be learned from"
        f" them; {told}. {remedy}"
    )
    metric = f"groups without a signal, mean of {WINDOW_STEPS} steps"
    return alarm("no_signal", level, history, metric, mean(shares), limit, advice)


def how_hard(history: History) -> tuple[float, str]:
    """0 for problems that are never solved, 1 for those that always are; and how that is known.

    Where nobody graded the answers: where the reward stands between the worst and the best
    completion so far.
    """
    if right := window_values(history, CORRECT):
        return mean(right), f"{mean(right):.0%} of the completions are right"
    lowest = min(values(history, "rewards/worst"), default=0.0)
    highest = max(values(history, "rewards/best"), default=0.0)
    now = mean(window_values(history, "reward") or [0.0])
    told = f"the reward is {now:.3g}; completions have earned {lowest:.3g} to {highest:.3g}"
    if highest > lowest:
        return (now - lowest) / (highest - lowest), told
    return float(now > 0), told


def entropy_collapse(history: History, health: Health) -> Alarm | None:
    entropies = values(history, "entropy")
    if len(entropies) < 2 * RECENT_STEPS:
        return None
    first, now = mean(entropies[:RECENT_STEPS]), mean(entropies[-RECENT_STEPS:])
    limit = ENTROPY_SHARE * first
    if now >= limit:
        return None
    advice = (
        f"It began at {first:.3g}: nearly every token is now certain, so the completions of a"
        " group are alike and little is left to learn from. Higher temperature, larger"
        " epsilon_high, or lower learning_rate."
    )
    metric = f"entropy, nats a token, mean of {RECENT_STEPS} steps"
    return alarm("entropy_collapse", "alarm", history, metric, now, limit, advice)


def pass_at_g_flat(history: History, health: Health) -> Alarm | None:
    shares = values(history, PASS_AT_G)
    level = by_steps(len(shares), health)
    rise, noise = change(shares)
    if level is None or rise > noise:
        return None
    now = mean(shares[-WINDOW_STEPS:])
    if now >= PASS_AT_G_ENOUGH:
        return None
    better, luck = change(values(history, CORRECT))
    if better > luck:
        advice = (
            "Single answers get better, the best of a group does not: training makes it surer of"
            " what it could solve already. More than that needs problems at the edge of what it"
            " can do, more num_generations, or a higher temperature."
        )
    else:
        advice = (
            "Neither single answers nor the best of a group get better: it finds no more right"
            " answers than at the start. Easier problems, SFT first, or more num_generations."
        )
    metric = f"{PASS_AT_G} (now {now:.2f}), last {WINDOW_STEPS} steps less the first"
    return alarm("pass_at_g_flat", level, history, metric, rise, noise, advice)


def loss_near_zero(history: History, health: Health) -> Alarm | None:
    first = [abs(value) for value in values(history, "loss")[:RECENT_STEPS]]
    if len(first) < RECENT_STEPS or mean(first) >= NEAR_ZERO:
        return None
    advice = (
        "That is as it should be: advantages sum to zero in every group, so what GRPO shows as its"
        " loss is about beta times the KL term, which begins at 0 and rises. It says nothing about"
        " learning: watch the reward."
    )
    metric = f"loss, absolute, mean of the first {RECENT_STEPS} steps"
    return alarm("loss_near_zero", "note", history, metric, mean(first), NEAR_ZERO, advice)


def adapter_unchanged(history: History, health: Health) -> Alarm | None:
    norms = values(history, LORA_B_NORM)[-UNCHANGED_STEPS:]
    if len(norms) < UNCHANGED_STEPS or max(norms) > min(norms):
        return None
    advice = (
        "Steps are taken and nothing is learned: is there a signal (rewards/signal_share above 0),"
        " a grad_norm above 0, a learning_rate above 0, and are steps/skipped few?"
    )
    metric = f"{LORA_B_NORM}, change over {UNCHANGED_STEPS} steps"
    return alarm("adapter_unchanged", "alarm", history, metric, 0.0, 0.0, advice)


def by_steps(steps: int, health: Health) -> Level | None:
    """How bad it is that something has not risen in so many steps."""
    if steps >= health.flat_alarm_steps:
        return "alarm"
    return "warn" if steps >= health.flat_warn_steps else None


def kl(history: History, health: Health) -> Alarm | None:
    recent = recent_values(history, "kl")
    if not recent or mean(recent) <= health.kl_warn:
        return None
    level: Level = "alarm" if mean(recent) > health.kl_alarm else "warn"
    limit = health.kl_alarm if level == "alarm" else health.kl_warn
    advice = (
        "The policy is far from where it began; its text may be breaking up. Lower learning_rate,"
        " raise beta, or go back to a checkpoint."
    )
    metric = f"kl, nats a token, mean of {len(recent)} steps"
    return alarm("kl", level, history, metric, mean(recent), limit, advice)
