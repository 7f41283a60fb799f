"""The recipe's section `distill:`."""

from typing import Annotated, Literal

from pydantic import Field

from onecard.section import Count, Positive
from onecard.stages.sections.base import Load, StageSection


class Distill(StageSection):
    """On-policy distillation: the policy answers, and a teacher says what it would have written.

    At each token of the policy's own completions, the policy's next-token distribution is drawn
    towards the teacher's (Agarwal et al. 2023, arXiv 2306.13649). The values have TRL's names.
    `teacher` is a model's folder or hub id with the policy's vocabulary. `beta` says which distance
    gets smaller: 1 is the reverse KL divergence, 0 the forward one, what lies between is the
    Jensen-Shannon divergence. `temperature` is that of sampling, and of both distributions.
    """

    teacher: str
    per_device_train_batch_size: Count  # completions per forward/backward pass
    gradient_accumulation_steps: Count = 1
    max_completion_length: Count
    temperature: Positive = 1.0
    beta: Annotated[float, Field(ge=0, le=1)] = 1.0
    learning_rate: Positive
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    optim: str = "adamw_torch_fused"
    max_grad_norm: Positive = 1.0

    @property
    def completions_per_step(self) -> int:
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def load(self) -> Load:
        return Load(
            self.per_device_train_batch_size,
            self.max_completion_length,
            sampled=self.completions_per_step,
            optim=self.optim,
            teacher=self.teacher,
        )
