"""Rejection sampling fine-tuning: the policy learns from its own right answers, as SFT does."""

from collections.abc import Sequence

from onecard.data.prompts import prompt_for
from onecard.data.section import Data
from onecard.run.round import Round
from onecard.stages.samples import Sample, as_completion, draw_samples
from onecard.stages.sections import StageSections
from onecard.stages.sections.rft import Rft
from onecard.stages.training import Training
from onecard.types import RunFailed


def plan_lines(sections: StageSections, data: Data) -> list[str]:
    section = section_of(sections)
    samples = section.samples
    rounds = f"{section.iterate} rounds: " if section.iterate > 1 else ""
    return [
        f"RFT        {rounds}{samples.problems} problems x {samples.num_generations} completions,"
        f" then {section.max_steps} supervised steps x {section.batch_size} of the right ones",
    ]


def check(training: Training, tokenizer: object) -> None:
    """TRL refuses nothing that the schema lets through."""


def pilot(training: Training) -> None:
    """What it samples shows whether there is something to learn."""


def run(training: Training, one: Round) -> None:
    """Sample, keep what is right, and fine-tune on that."""
    from onecard.stages.trl.supervised import fine_tune

    if training.take_up(one):
        return
    section = section_of(training.sections)
    samples = draw_samples(training, one, section.samples)
    kept = accepted(samples, section)
    training.display.say(told(one, samples, kept, section))
    if not kept:
        raise RunFailed(
            f"{one.title}: none of {len(samples)} completions is right, so there is nothing to"
            " learn from; SFT first, easier problems, or more rft.samples.num_generations"
        )
    rows = []
    for one_kept in kept:
        prompt = prompt_for(one_kept.problem, training.data.system_prompt)
        rows.append({"prompt": prompt, "completion": as_completion(one_kept.text, prompt)})
    fine_tune(training, one, section, training.load_policy(), rows)
    training.put_away(one)


def accepted(samples: Sequence[Sample], section: Rft) -> list[Sample]:
    """The right completions: each text once, and at most `per_problem` of a problem."""
    found: dict[tuple[str, str], Sample] = {}
    of_problem: dict[str, int] = {}
    for sample in samples:
        name = sample.problem.id
        new = (name, sample.text) not in found and of_problem.get(name, 0) < section.per_problem
        if new and sample.is_right(section.least_reward):
            found[name, sample.text] = sample
            of_problem[name] = of_problem.get(name, 0) + 1
    return list(found.values())


def told(one: Round, samples: Sequence[Sample], kept: Sequence[Sample], section: Rft) -> str:
    right = sum(sample.is_right(section.least_reward) for sample in samples)
    problems = len({sample.problem.id for sample in kept})
    return (
        f"{one.title}: {right:,} of {len(samples):,} completions are right; it trains on"
        f" {len(kept):,} different ones, of {problems:,} problems"
    )


def section_of(sections: StageSections) -> Rft:
    assert sections.rft is not None
    return sections.rft
