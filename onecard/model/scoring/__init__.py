"""Models that give scores: to completions, or to each of their steps.

They stand beside the policy, on the same card or on the CPU.
"""

import json
from pathlib import Path

from onecard.files.hub import check_code
from onecard.model.scoring.base import Scoring
from onecard.model.scoring.learning import LearningSequenceModel
from onecard.model.scoring.sequence import SequenceModel
from onecard.model.scoring.steps import MathShepherd, QwenPrm, TokenModel
from onecard.run.folder import REWARD_MODEL, judged_file
from onecard.types import UserError
from rewards.judges.online import LearningRewardModel
from rewards.judges.ranks import CHANCE
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
    check_ranking(Path(reward.model))
    if isinstance(reward, LearningRewardModel) and reward.online:
        return LearningSequenceModel(reward, reward.online.learning_rate)
    return FAMILIES[reward.family](reward)


def check_ranking(model: Path) -> None:
    """Raise UserError for a model that a run has trained, and found no better than chance."""
    judged = judged_file(model)
    if not model.name.startswith(REWARD_MODEL) or not judged.is_file():
        return
    ranking = json.loads(judged.read_text(encoding="utf-8"))["ranking"]
    if ranking["ci_low"] <= CHANCE:
        raise UserError(
            f"reward_model: {model} ranks what it was not trained on no better than chance"
            f" ({ranking['accuracy']:.1%}), so nothing may be paid by it"
        )
