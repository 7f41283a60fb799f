"""Models that give scores: to completions, or to each of their steps.

They stand beside the policy, on the same card or on the CPU.
"""

from onecard.files.hub import check_code
from onecard.model.scoring.base import Scoring
from onecard.model.scoring.learning import LearningSequenceModel
from onecard.model.scoring.sequence import SequenceModel
from onecard.model.scoring.steps import MathShepherd, QwenPrm, TokenModel
from rewards.judges.online import LearningRewardModel
from rewards.judges.reward_model import RewardModel, ScoringModel

FAMILIES: dict[str, type[Scoring]] = {
    "sequence": SequenceModel,
    "token": TokenModel,
    "qwen_prm": QwenPrm,
    "math_shepherd": MathShepherd,
}


def load_scoring_model(reward: RewardModel) -> ScoringModel:
    """The model of a reward. Raises UserError where it cannot be loaded, or gives no score."""
    check_code(reward.model, reward.trust_remote_code)
    if isinstance(reward, LearningRewardModel) and reward.online:
        return LearningSequenceModel(reward, reward.online.learning_rate)
    return FAMILIES[reward.family](reward)
