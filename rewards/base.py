"""What every reward is: an entry of a recipe, checked by its own schema, that scores one completion."""

from onecard.section import Section
from onecard.types import Rollout, Score


class Reward(Section):
    """A name, a weight, and the knobs of its own. What is paid is weight x Score.value.

    `score` is pure: one Rollout in, one Score out, or None where the reward does not apply (TRL leaves it out).
    """

    name: str
    weight: float = 1.0

    @property
    def label(self) -> str:
        """What TRL, TensorBoard and messages call it."""
        return self.name

    def score(self, rollout: Rollout) -> Score | None:
        raise NotImplementedError

    def parts(self) -> "list[Reward]":
        """The rewards that this entry stands for: itself, or the parts of a preset."""
        return [self]
