"""The recipe's section `dpo:`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from onecard.section import Count, Positive
from onecard.stages.sections.base import Load, Samples, StageSection

Loss = Literal["sigmoid", "sigmoid_norm", "hinge", "ipo", "nca_pair", "apo_zero", "apo_down"]


class Dpo(StageSection):
    """Direct preference optimization on pairs of completions (Rafailov et al. 2023).

    The values have TRL's names. `pairs` is a file with the columns prompt, chosen and rejected.
    With `samples` in its place the pairs are right against wrong completions of the policy itself,
    at most `pairs_per_problem` of a problem. `sft_weight` adds the likelihood of what is chosen to
    the loss: without it DPO makes right answers less likely too, as long as wrong ones lose more
    (Pang et al. 2024, arXiv 2404.19733). With `iterate`, each round samples with the policy as it
    is then, which is the round's reference too.
    """

    pairs: str | None = None
    samples: Samples | None = None
    pairs_per_problem: Count = 1
    per_device_train_batch_size: Count  # pairs per forward/backward pass
    gradient_accumulation_steps: Count = 1
    learning_rate: Positive
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    optim: str = "adamw_torch_fused"
    max_grad_norm: Positive = 1.0
    beta: Positive = 0.1
    loss_type: Loss = "sigmoid"
    sft_weight: Annotated[float, Field(ge=0)] = 0.0
    iterate: Count = 1

    @model_validator(mode="after")
    def check(self) -> "Dpo":
        if (self.pairs is None) == (self.samples is None):
            raise ValueError(
                "it learns from pairs of completions: write either `pairs: FILE`, or `samples:` for"
                " the policy's own"
            )
        if self.pairs is not None and self.iterate > 1:
            raise ValueError(
                f"iterate {self.iterate} rounds would train on the same file of pairs again; write"
                " more max_steps, or `samples:`"
            )
        return self

    @property
    def rounds(self) -> int:
        return self.iterate

    @property
    def load(self) -> Load:
        samples = self.samples
        return Load(
            2 * self.per_device_train_batch_size,
            samples.max_completion_length if samples else None,
            sampled=samples.batch_size if samples else 0,
            optim=self.optim,
        )
