"""Is a reward model that pays still worth believing?"""

from onecard.watch.alarm import Alarm, alarm
from onecard.watch.history import WINDOW_STEPS, History, change, of_newest_model, values
from onecard.watch.metric_names import CORRECT, MODEL_SCORE
from onecard.watch.section import Health

OURS = "reward_model"  # the name of its own pay among them


def reward_model_hacked(history: History, health: Health) -> Alarm | None:
    """The reward model's scores rise, and right answers do not become more.

    Where nobody knows right answers: and no other reward pays more. Where the model is renewed, the
    steps count that it has scored: another has another scale.
    """
    history = of_newest_model(history)
    scores = values(history, MODEL_SCORE)
    right = values(history, CORRECT) or paid_by_others(history)
    if len(scores) < 2 * WINDOW_STEPS or len(right) < 2 * WINDOW_STEPS:
        return None
    rise, noise = change(scores)
    more, chance = change(right)
    if rise <= noise or more > chance:
        return None
    advice = (
        "The policy has found what the reward model likes, and nothing else is better for it."
        " Read the completions that earn most. A smaller weight for it, beside a rule; a larger"
        " beta; or `online:`, so that it learns from what the policy writes now."
    )
    metric = f"{MODEL_SCORE}, last {WINDOW_STEPS} steps less the first"
    return alarm("reward_model_hacked", "alarm", history, metric, rise, noise, advice)


def paid_by_others(history: History) -> list[float]:
    """What all other rewards pay, step by step: TRL's means, before their weights."""
    found = []
    for line in history:
        means = [
            value
            for name, value in line.items()
            if name.startswith("rewards/") and name.endswith("/mean") and OURS not in name
        ]
        if means:
            found.append(sum(means))
    return found
