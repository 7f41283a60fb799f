"""What the sections of all stages have in common."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from onecard.section import Count, Positive, Section


@dataclass(frozen=True)
class Load:
    """What a stage has in memory at most, for the plans.

    `rows` sequences go through the model at once with gradients: each has a prompt and at most
    `completion_length` tokens after it, None where the recipe's longest completion says so.
    `sampled` completions are generated at once, `group` of them for each prompt. `optim` is the
    optimizer. `teacher` is a second model beside the policy; then the scores of all tokens for the
    whole vocabulary are held at once, of both.
    """

    rows: int
    completion_length: int | None = None
    sampled: int = 0
    group: int = 1
    optim: str = "adamw_torch_fused"
    teacher: str | None = None


class StageSection(Section):
    """A stage. `max_steps` are those of one round.

    The policy is loaded once for all stages: where one of them asks for gradient checkpointing, all
    have it.
    """

    max_steps: Count
    gradient_checkpointing: bool = False

    @property
    def rounds(self) -> int:
        """How many times the stage is done, one after the other."""
        return 1

    @property
    def load(self) -> Load:
        raise NotImplementedError


class Supervised(StageSection):
    """A stage that fine-tunes on texts; the loss is on the completion alone."""

    batch_size: Count
    learning_rate: Positive
    lr_warmup_steps: Annotated[int, Field(ge=0)] = 0


class Samples(Section):
    """The policy's own completions, which a stage learns from: `problems` training problems, drawn
    anew in each round, `num_generations` completions of each.
    """

    problems: Count
    num_generations: Annotated[int, Field(ge=2)]
    max_completion_length: Count
    temperature: Positive = 1.0
    batch_size: Count = 64  # completions that are generated at once
