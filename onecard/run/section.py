"""The recipe's `save:`."""

from onecard.section import Count, Positive, Section


class Save(Section):
    """A checkpoint every so many steps, and after so many minutes.

    The newest `keep` stay, and the best one on the dev split.
    """

    every_steps: Count
    every_minutes: Positive = 10.0
    keep: Count = 2
