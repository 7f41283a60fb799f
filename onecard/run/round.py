"""A round: one time that a stage of a run is done."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Round:
    """`number` counts from 1. A stage that says `iterate: 3` has three rounds.

    `of_last_stage`: the run ends with this stage. What that does is what the run is about.
    """

    stage: str
    number: int
    of: int
    max_steps: int
    of_last_stage: bool

    @property
    def label(self) -> str:
        """Its name in the run folder: grpo, or grpo-2 where there are several rounds."""
        return self.stage if self.of == 1 else f"{self.stage}-{self.number}"

    @property
    def title(self) -> str:
        """Its name on the screen: GRPO, or GRPO 2 of 3."""
        name = self.stage.upper().replace("_", " ")
        return name if self.of == 1 else f"{name} {self.number} of {self.of}"

    @property
    def is_last(self) -> bool:
        """Whether the run ends with it: what it trained is the run's result."""
        return self.of_last_stage and self.number == self.of

    @property
    def steps_before(self) -> int:
        """The steps of this stage's earlier rounds: metrics count them through."""
        return (self.number - 1) * self.max_steps

    @property
    def steps_after(self) -> int:
        """The steps of this stage that are done after it."""
        return self.steps_before + self.max_steps

    @property
    def metrics(self) -> str:
        """The file of its measurements in the run folder."""
        return "metrics.jsonl" if self.of_last_stage else f"{self.stage}.jsonl"

    @property
    def groups(self) -> str:
        """The file of what became of its groups."""
        return groups_file(None if self.of_last_stage else self.stage)


def groups_file(stage: str | None) -> str:
    """Of which problems were asked in each step, and how often they were solved.

    `stage`: None for the run's last one.
    """
    return f"{stage}-groups.jsonl" if stage else "groups.jsonl"
