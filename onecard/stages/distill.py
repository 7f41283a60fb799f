"""On-policy distillation: the policy's own completions, corrected by a teacher token by token."""

from typing import Any

from onecard.data.prompts import prompt_for, prompt_tokens
from onecard.data.section import Data
from onecard.run.round import Round
from onecard.stages.sections import StageSections
from onecard.stages.sections.distill import Distill
from onecard.stages.training import Training


def plan_lines(sections: StageSections, data: Data) -> list[str]:
    section = section_of(sections)
    return [
        f"DISTILL    {section.max_steps} steps x {section.completions_per_step} completions,"
        f" corrected by {section.teacher}",
    ]


def check(training: Training, tokenizer: Any) -> None:
    """Raise UserError where the teacher does not write with the policy's tokens."""
    from onecard.model.teacher import check_vocabulary

    teacher = section_of(training.sections).teacher
    check_vocabulary(teacher, tokenizer, training.weights, training.model.trust_remote_code)


def pilot(training: Training) -> None:
    """A teacher has something to say about every completion."""


def run(training: Training, one: Round) -> None:
    """Answer, ask the teacher, and come nearer to it, step by step."""
    from onecard.stages.trl.distillation import distill

    if training.take_up(one):
        return
    policy = training.load_policy()
    system_prompt = training.data.system_prompt
    prompts = [prompt_for(problem, system_prompt) for problem in training.problems]
    tokens = prompt_tokens(policy.tokenizer, prompts)
    distill(training, one, section_of(training.sections), policy, tokens)
    training.put_away(one)


def section_of(sections: StageSections) -> Distill:
    assert sections.distill is not None
    return sections.distill
