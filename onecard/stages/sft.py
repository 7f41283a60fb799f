"""Supervised fine-tuning: where every completion earns nothing, there is nothing to reinforce.

`trains: adapter` trains the policy's own adapter. `trains: all_weights` trains the whole model in
32 bit, and loads it again as the quantized base of a fresh adapter.
"""

import shutil
from typing import TYPE_CHECKING

from onecard.data.section import Data
from onecard.run.process import is_first
from onecard.stages.sections import Sft, StageSections
from onecard.stages.training import Training

if TYPE_CHECKING:
    from onecard.model.policy import Policy

NAME = "sft"


def plan_lines(sections: StageSections, data: Data) -> list[str]:
    section = section_of(sections)
    trained = section.trains.replace("_", " ")
    return [
        f"SFT        {section.max_steps} supervised steps x {section.batch_size} solutions,"
        f" training the {trained}"
    ]


def check(training: Training) -> None:
    """TRL refuses nothing that the schema lets through."""


def pilot(training: Training) -> None:
    """There is always something to learn from a solution."""


def run(training: Training) -> None:
    """Train on the solutions. What comes out is kept in the run folder, and not trained twice."""
    section = section_of(training.sections)
    everything = section.trains == "all_weights"
    kept = training.run.sft_model if everything else training.run.sft_adapter
    if not kept.is_dir():
        train(training, section)
    else:
        training.display.say(f"SFT is done already: {kept}")
    if everything:
        training.load_policy(str(kept))
    elif training.policy is None:
        from onecard.model.adapter import load_adapter

        load_adapter(training.load_policy().model, kept)


def train(training: Training, section: Sft) -> None:
    from onecard.stages.trl.build import build_sft_trainer
    from onecard.stages.trl.callback import SftSteps

    bare = sum(not problem.solution for problem in training.problems)
    if bare:
        training.display.say(
            f"SFT: {bare:,} of {len(training.problems):,} problems have no worked solution; of"
            " those it shows the right answer alone"
        )
    policy = policy_to_train(training, section)
    keeper = training.keeper(NAME, policy)
    with training.display.phase("SFT", section.max_steps, begun=keeper.kept) as advance:
        trainer = build_sft_trainer(training, policy, SftSteps(keeper, advance))
        with training.keeping(keeper):
            trainer.train_from(training.checkpoint_of(NAME))
    if is_first():
        everything = section.trains == "all_weights"
        policy.save(training.run.sft_model if everything else training.run.sft_adapter)
        shutil.rmtree(training.run.checkpoints(NAME), ignore_errors=True)  # served their purpose
    training.stopping.finish = lambda: "SFT is kept; add --resume to the command to go on"


def policy_to_train(training: Training, section: Sft) -> "Policy":
    from onecard.model.load import load_full_model

    if section.trains == "all_weights":
        return load_full_model(training.model, training.weights, training.run.folder)
    return training.load_policy()


def section_of(sections: StageSections) -> Sft:
    assert sections.sft is not None
    return sections.sft
