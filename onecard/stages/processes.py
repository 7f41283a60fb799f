"""What a recipe may not ask of several processes; they are started with torchrun or accelerate."""

from collections.abc import Sequence

from onecard.run.process import processes
from onecard.stages.sections import StageSections
from onecard.types import UserError
from rewards.base import Reward
from rewards.judges.reward_model import RewardModel

IN_STEP = ("sft", "grpo")  # stages whose processes were tried together


def check_processes(
    sections: StageSections, rewards: Sequence[Reward], fast_inference: bool
) -> None:
    """Raises UserError where several processes were started for what one alone can do."""
    if processes() == 1:
        return
    why = ""
    if others := [stage for stage in sections.stages if stage not in IN_STEP]:
        why = f"the stage {others[0]} works in one process alone"
    elif fast_inference:
        why = "model.fast_inference works in one process alone; set model.fast_inference=false"
    elif any(isinstance(reward, RewardModel) for reward in rewards):
        why = "the reward reward_model works in one process alone"
    elif sections.grpo and sections.grpo.dynamic_sampling:
        why = "grpo.dynamic_sampling works in one process alone"
    elif sections.grpo and sections.grpo.credit != "outcome":
        why = f"grpo.credit {sections.grpo.credit} works in one process alone"
    if why:
        raise UserError(
            f"{why}, and {processes()} were started; start it with `python train.py`, or see"
            " docs/scale.md for what goes with several"
        )
