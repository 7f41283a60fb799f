"""Completions that somebody, or the rewards, called right or wrong: what a reward model learns."""

from collections.abc import Sequence
from dataclasses import dataclass

from onecard.run.round import Round
from onecard.stages.samples import draw_samples
from onecard.stages.sections.reward_model import RewardModelStage
from onecard.stages.training import Training
from onecard.types import Problem
from rewards.judges.reward_model import Asked, asked_of


@dataclass(frozen=True)
class Labelled:
    """A completion with its label."""

    problem: Problem
    text: str
    right: bool

    @property
    def asked(self) -> Asked:
        """As the model is shown it, in training and in use alike."""
        return asked_of(self.problem, self.text)


def labels(training: Training, one: Round, section: RewardModelStage) -> list[Labelled]:
    """All completions with their labels, in a fixed order."""
    if section.samples is None:
        found = []
        for pair in training.pairs["reward_model"]:
            found.append(Labelled(pair.problem, pair.chosen, right=True))
            found.append(Labelled(pair.problem, pair.rejected, right=False))
        return found
    drawn = draw_samples(training, one, section.samples)
    ended = [sample for sample in drawn if not sample.truncated]
    return [Labelled(sample.problem, sample.text, sample.is_right(None)) for sample in ended]


def pairs_to_rank(labelled: Sequence[Labelled]) -> list[tuple[Labelled, Labelled]]:
    """A right and a wrong completion of a problem; each different text in one pair at most."""
    sides: dict[str, tuple[dict[str, Labelled], dict[str, Labelled]]] = {}
    for one in labelled:
        right, wrong = sides.setdefault(one.problem.id, ({}, {}))
        (right if one.right else wrong)[one.text] = one
    pairs = []
    for right, wrong in sides.values():
        pairs += list(zip(right.values(), wrong.values(), strict=False))
    return pairs
