"""The recipe's section `sft:`."""

from typing import Literal

from onecard.stages.sections.base import Load, Supervised


class Sft(Supervised):
    """Supervised steps on the data set's own solutions, so that there is something to reinforce.

    `trains`: `all_weights` for a model that knows nothing yet, `adapter` for one that does.
    """

    trains: Literal["all_weights", "adapter"]

    @property
    def load(self) -> Load:
        return Load(self.rows)
