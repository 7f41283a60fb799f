"""Direct preference optimization: what is chosen becomes likelier than what is rejected."""

import random
from collections.abc import Sequence
from typing import Any

from onecard.data.pairs import Pair
from onecard.data.prompts import prompt_for, prompt_tokens, tokenize
from onecard.data.section import Data
from onecard.run.round import Round
from onecard.stages.samples import Sample, as_completion, draw_samples
from onecard.stages.sections import StageSections
from onecard.stages.sections.dpo import Dpo
from onecard.stages.training import Training
from onecard.types import RunFailed, UserError


def plan_lines(sections: StageSections, data: Data) -> list[str]:
    section = section_of(sections)
    per_step = section.per_device_train_batch_size * section.gradient_accumulation_steps
    rounds = f"{section.iterate} rounds: " if section.iterate > 1 else ""
    of = f"of {section.pairs}"
    if section.samples:
        asked = section.samples
        of = f"from {asked.problems} problems x {asked.num_generations} completions"
    return [f"DPO        {rounds}{section.max_steps} steps x {per_step} pairs {of}"]


def check(training: Training, tokenizer: Any) -> None:
    """Raise UserError where the model does not take pairs as long as those of the file."""
    pairs = training.pairs.get("dpo")
    if not pairs:
        return
    system_prompt, most = training.data.system_prompt, training.model.max_seq_length
    prompts = prompt_tokens(tokenizer, [prompt_for(p.problem, system_prompt) for p in pairs])
    sides = [[pair.chosen for pair in pairs], [pair.rejected for pair in pairs]]
    answers = [tokenize(tokenizer, texts) for texts in sides]
    fitting = []
    for pair, prompt, *two in zip(pairs, prompts, *answers, strict=True):
        # A token more ends the completion.
        if len(prompt) + max(map(len, two)) + 1 <= most:
            fitting.append(pair)
    if left_out := len(pairs) - len(fitting):
        training.display.say(
            f"DPO: {left_out:,} of {len(pairs):,} pairs are longer than"
            f" model.max_seq_length {most} tokens and are left out"
        )
    if not fitting:
        raise UserError(
            f"dpo.pairs: no pair fits into model.max_seq_length {most} tokens; raise it"
        )
    training.pairs["dpo"] = fitting


def pilot(training: Training) -> None:
    """What it samples shows whether there is something to learn."""


def run(training: Training, one: Round) -> None:
    """Train on the file's pairs, or on right against wrong completions of the policy."""
    from onecard.stages.trl.preference import prefer

    if training.take_up(one):
        return
    section = section_of(training.sections)
    pairs = training.pairs.get("dpo", [])
    if section.samples:
        samples = draw_samples(training, one, section.samples)
        pairs = right_against_wrong(samples, section, training.seed_of(one))
        training.display.say(told(one, samples, pairs))
        if not pairs:
            raise RunFailed(
                f"{one.title}: of no problem there is both a right and a wrong completion, so there"
                " is nothing to prefer; more dpo.samples.num_generations, or other problems"
            )
    rows = []
    for pair in pairs:
        prompt = prompt_for(pair.problem, training.data.system_prompt)
        chosen, rejected = (as_completion(text, prompt) for text in (pair.chosen, pair.rejected))
        rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    prefer(training, one, section, training.load_policy(), rows)
    training.put_away(one)


def right_against_wrong(samples: Sequence[Sample], section: Dpo, seed: int) -> list[Pair]:
    """Of each problem at most `pairs_per_problem`, each text in one pair alone."""
    sides: dict[str, tuple[list[Sample], list[Sample]]] = {}
    seen = set()
    for sample in samples:
        right, wrong = sides.setdefault(sample.problem.id, ([], []))
        if (sample.problem.id, sample.text) in seen:
            continue
        seen.add((sample.problem.id, sample.text))
        if sample.is_right(None):
            right.append(sample)
        elif sample.is_wrong(None):
            wrong.append(sample)
    drawn = random.Random(seed)
    pairs = []
    for right, wrong in sides.values():
        drawn.shuffle(right)
        drawn.shuffle(wrong)
        for one, other in list(zip(right, wrong, strict=False))[: section.pairs_per_problem]:
            pairs.append(Pair(one.problem, one.text, other.text))
    return pairs


def told(one: Round, samples: Sequence[Sample], pairs: Sequence[Pair]) -> str:
    right = sum(sample.is_right(None) for sample in samples)
    return (
        f"{one.title}: {right:,} of {len(samples):,} completions are right; it trains on"
        f" {len(pairs):,} pairs of a right and a wrong one"
    )


def section_of(sections: StageSections) -> Dpo:
    assert sections.dpo is not None
    return sections.dpo
