"""Is a reward model that pays still worth believing?"""

from onecard.watch.alarm import Alarm, alarm
from onecard.watch.history import WINDOW_STEPS, History, change, values
from onecard.watch.metric_names import CORRECT, MODEL_SCORE
from onecard.watch.section import Health


def reward_model_hacked(history: History, health: Health) -> Alarm | None:
    """The reward model's scores rise, and right answers do not become more."""
    scores, right = values(history, MODEL_SCORE), values(history, CORRECT)
    if len(scores) < 2 * WINDOW_STEPS or len(right) < 2 * WINDOW_STEPS:
        return None
    rise, noise = change(scores)
    more, chance = change(right)
    if rise <= noise or more > chance:
        return None
    advice = (
        "The policy has found what the reward model likes, and its answers are not better for it."
        " Read the completions that earn most. A smaller weight for it, beside a rule; a larger"
        " beta; or `online:`, so that it learns from what the policy writes now."
    )
    metric = f"{MODEL_SCORE}, last {WINDOW_STEPS} steps less the first"
    return alarm("reward_model_hacked", "alarm", history, metric, rise, noise, advice)
