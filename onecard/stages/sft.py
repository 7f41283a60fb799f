"""Supervised fine-tuning: where every completion earns nothing, there is nothing to reinforce.

`trains: adapter` trains the policy's own adapter. `trains: all_weights` trains the whole model in
32 bit, and loads it again as the quantized base of a fresh adapter.
"""

import shutil
from typing import TYPE_CHECKING

from onecard.data.prompts import prompt_for, target_for
from onecard.data.section import Data
from onecard.run.process import is_first
from onecard.run.round import Round
from onecard.run.together import wait_for_all
from onecard.stages.sections import StageSections
from onecard.stages.sections.sft import Sft
from onecard.stages.training import Training

if TYPE_CHECKING:
    from onecard.model.policy import Policy


def plan_lines(sections: StageSections, data: Data) -> list[str]:
    section = section_of(sections)
    trained = section.trains.replace("_", " ")
    return [
        f"SFT        {section.max_steps} supervised steps x {section.batch_size} solutions,"
        f" training the {trained}"
    ]


def check(training: Training, tokenizer: object) -> None:
    """TRL refuses nothing that the schema lets through."""


def pilot(training: Training) -> None:
    """There is always something to learn from a solution."""


def run(training: Training, one: Round) -> None:
    """Train on the solutions. What comes out is kept in the run folder, and not trained twice."""
    section = section_of(training.sections)
    if section.trains == "adapter":
        if not training.take_up(one):
            train(training, one, training.load_policy())
            training.put_away(one)
        return
    kept = training.run.sft_model
    if kept.is_dir():
        training.display.say(f"SFT is done already: {kept}")
    else:
        train_all_weights(training, one)
    training.load_policy(str(kept))


def train_all_weights(training: Training, one: Round) -> None:
    from onecard.model.load import load_full_model

    policy = load_full_model(training.model, training.weights, training.run.folder)
    train(training, one, policy)
    if is_first():
        policy.save(training.run.sft_model)
        shutil.rmtree(training.run.checkpoints(one.label), ignore_errors=True)
    wait_for_all()  # what the first one has written is read by all
    training.tell_kept(one)


def train(training: Training, one: Round, policy: "Policy") -> None:
    from onecard.stages.trl.supervised import fine_tune

    bare = sum(not problem.solution for problem in training.problems)
    if bare:
        training.display.say(
            f"SFT: {bare:,} of {len(training.problems):,} problems have no worked solution; of"
            " those it shows the right answer alone"
        )
    system_prompt, answer_format = training.data.system_prompt, training.answer.format
    rows = [
        {
            "prompt": prompt_for(problem, system_prompt),
            "completion": target_for(problem, answer_format),
        }
        for problem in training.problems
    ]
    fine_tune(training, one, section_of(training.sections), policy, rows)


def section_of(sections: StageSections) -> Sft:
    assert sections.sft is not None
    return sections.sft
