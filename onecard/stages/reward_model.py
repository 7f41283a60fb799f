"""A reward model: trained on completions whose worth is known, and judged by others of them."""

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from onecard.data.section import Data
from onecard.files.formats import write_json
from onecard.run.folder import judged_file
from onecard.run.process import is_first
from onecard.run.round import Round
from onecard.stages.labelled import Labelled, labels, pairs_to_rank
from onecard.stages.ranking import as_sentence, measured
from onecard.stages.sections import StageSections
from onecard.stages.sections.reward_model import RewardModelStage
from onecard.stages.training import Training
from onecard.types import RunFailed
from rewards.judges.ranks import CHANCE, Judged, is_held_out
from rewards.judges.reward_model import RewardModel

REPLAYED = 0.1  # of what a renewed model learns from: DeepSeekMath, section 4.1.4


def plan_lines(sections: StageSections, data: Data) -> list[str]:
    section = section_of(sections)
    per_step = section.per_device_train_batch_size * section.gradient_accumulation_steps
    of = f"of {section.pairs}"
    if section.samples:
        asked = section.samples
        of = f"from {asked.problems} problems x {asked.num_generations} completions"
    what = "pairs" if section.learns == "from_pairs" else "completions"
    steps = f"{section.max_steps} steps x {per_step} {what} {of}"
    if section.iterate > 1:
        steps = f"trained {section.iterate} times, each {steps}"
    return [f"REWARD     a reward model: {steps}"]


def check(training: Training, tokenizer: object) -> None:
    """The file of pairs was read already."""


def pilot(training: Training) -> None:
    """What it is judged by shows whether it has learned anything."""


def run(training: Training, one: Round) -> None:
    """Label, train, judge. The run ends where it has learned nothing.

    In a later round the model that it has goes on, where a new one is no better than chance.
    """
    folder = training.run.reward_model_after(one.label)
    section = section_of(training.sections)
    seen, held_out = parted(training, section, labels(training, one, section))
    former = former_model(training, one)
    if former:
        if not (pairs_to_rank(seen) and pairs_to_rank(held_out)):
            training.display.say(
                f"{one.title}: too few of its completions can be told apart by right and wrong;"
                f" {former} goes on"
            )
            return
        seen += replayed(training, one, section, len(seen))
    training.scorer.renew(one.number)  # two of them beside the policy are one too many
    file = judged_file(folder)
    if folder.is_dir() or file.is_file():
        training.display.say(f"{one.title} is done already: {folder}")
    else:
        from onecard.stages.trl.ranker import train_ranker

        check_enough(one, seen, held_out)
        train_ranker(training, one, section, seen, former)
        training.tell_kept(one)
    training.last_step = one.steps_before + one.max_steps
    if is_first():
        shutil.rmtree(training.run.checkpoints(one.label), ignore_errors=True)
    if not file.is_file() and is_first():
        write_json(file, measured(judge(training, folder, held_out)))
    found = json.loads(file.read_text(encoding="utf-8"))
    training.display.say(f"{one.title}: {as_sentence(found)}")
    if found["ranking"]["ci_low"] > CHANCE:
        return
    if not former:
        raise RunFailed(
            f"{one.title}: that is no better than chance, so nothing may be paid by it; more"
            " samples, more reward_model.max_steps, or another reward_model.base"
        )
    training.display.say(f"{one.title}: that may be chance; {former} goes on")
    if is_first():
        shutil.rmtree(folder, ignore_errors=True)


def former_model(training: Training, one: Round) -> Path | None:
    """The reward model of the rounds before, the newest one; None before there is one."""
    numbers = range(one.number - 1, 0, -1)
    labels = [replace(one, number=number).label for number in numbers]
    folders = [training.run.reward_model_after(label) for label in labels]
    return next((folder for folder in folders if folder.is_dir()), None)


def check_enough(one: Round, seen: Sequence[Labelled], held_out: Sequence[Labelled]) -> None:
    """Raise RunFailed where a side has no pair of a right and a wrong completion."""
    for name, side in (("to train on", seen), ("to judge it by", held_out)):
        if not pairs_to_rank(side):
            raise RunFailed(
                f"{one.title}: there is no pair of a right and a wrong completion of one problem"
                f" {name}; more reward_model.samples"
            )


def parted(
    training: Training, section: RewardModelStage, labelled: Sequence[Labelled]
) -> tuple[list[Labelled], list[Labelled]]:
    """What it is trained on, and what it is judged by: the same problems in all rounds."""
    seen: list[Labelled] = []
    held_out: list[Labelled] = []
    for each in labelled:
        # The rows of a file are numbered, and several may ask the same.
        name = each.problem.question if section.pairs else each.problem.id
        apart = is_held_out(name, section.held_out, training.seed)
        (held_out if apart else seen).append(each)
    return seen, held_out


def replayed(training: Training, one: Round, section: RewardModelStage, new: int) -> list[Labelled]:
    """Completions of earlier rounds beside `new` ones, so that they are not forgotten.

    Whole problems, drawn at random: a pair has two completions of one.
    """
    earlier: dict[str, list[Labelled]] = {}
    for number in range(1, one.number):
        former = labels(training, replace(one, number=number), section)
        for each in parted(training, section, former)[0]:
            earlier.setdefault(each.problem.id, []).append(each)
    names = list(earlier)
    random.Random(training.seed_of(one)).shuffle(names)
    found: list[Labelled] = []
    for name in names:
        if len(found) >= new * REPLAYED / (1 - REPLAYED):
            break
        found += earlier[name]
    return found


def judge(training: Training, folder: Path, held_out: Sequence[Labelled]) -> list[Judged]:
    """The held-out completions with the scores that the trained model gives them."""
    from onecard.model.scoring import load_scoring_model

    most = training.model.max_seq_length
    entry = RewardModel(name="reward_model", model=str(folder), max_length=most)
    model = load_scoring_model(entry)
    scores = model.scores([one.asked for one in held_out])
    found = []
    for one, score in zip(held_out, scores, strict=True):
        if score is not None:
            found.append(Judged(one.problem.id, one.right, len(one.text), score[0]))
    return found


def section_of(sections: StageSections) -> RewardModelStage:
    assert sections.reward_model is not None
    return sections.reward_model
