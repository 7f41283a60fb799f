"""What the sections of all stages have in common."""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, model_validator

from onecard.section import Count, Positive, Section


@dataclass(frozen=True)
class Load:
    """What a stage has in memory at most, for the plans.

    `rows` sequences go through the model at once with gradients: each has a prompt and at most
    `completion_length` tokens after it, None where the recipe's longest completion says so.
    `sampled` completions are generated at once, `group` of them for each prompt. `optim` is the
    optimizer. `teacher` is a second model beside the policy, whose scores for the whole vocabulary
    are compared with the policy's at each token of a completion. `ranker` is a model that is
    trained to score, None for the one that the run starts from, with so many bytes a number.
    """

    rows: int
    completion_length: int | None = None
    sampled: int = 0
    group: int = 1
    optim: str = "adamw_torch_fused"
    teacher: str | None = None
    ranker: str | None = None
    ranker_bytes: int = 0


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
    """A stage that fine-tunes on texts; the loss is on the completion alone.

    A step has `batch_size` texts, which go through the model in `gradient_accumulation_steps`
    parts: so many times less memory for activations, and the same gradient.
    """

    batch_size: Count
    gradient_accumulation_steps: Count = 1
    learning_rate: Positive
    lr_warmup_steps: Annotated[int, Field(ge=0)] = 0

    @property
    def rows(self) -> int:
        """Texts in a forward and backward pass."""
        return self.batch_size // self.gradient_accumulation_steps

    @model_validator(mode="after")
    def check_parts(self) -> Self:
        if self.batch_size % self.gradient_accumulation_steps:
            raise ValueError(
                f"gradient_accumulation_steps {self.gradient_accumulation_steps} parts of equal"
                f" size cannot be made of batch_size {self.batch_size}"
            )
        return self


class Samples(Section):
    """The policy's own completions, which a stage learns from: `problems` training problems, drawn
    anew in each round, `num_generations` completions of each.
    """

    problems: Count
    num_generations: Annotated[int, Field(ge=2)]
    max_completion_length: Count
    temperature: Positive = 1.0
    batch_size: Count = 64  # completions that are generated at once
