"""The recipe's section `reward_model:`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from onecard.section import Count, Positive, Share
from onecard.stages.sections.base import Load, Samples, StageSection

# Bytes a number of the model, in 32 bit: with gradients and the optimizer's two moments, or alone.
ALL_TRAINED, NOT_TRAINED = 16, 4


class RewardModelStage(StageSection):
    """Trains a model that scores completions; a reward `model: trained` is paid by it later.

    It learns from `pairs`, a file as dpo's, or from the policy's own `samples`, right or wrong by
    the grader: `from_pairs` of right against wrong ones of a problem (TRL's RewardTrainer), or
    `from_rows`, right or wrong, each by itself. `base` is the model that gets a head: a folder or a
    hub id, or where it is left out the one that the policy started from. `held_out` is the share
    of the problems, or of a file's prompts, that it is not trained on, but judged by. Where it
    ranks those no better than chance, the run ends.

    With `iterate` it is renewed: trained again before each round of the stage after it, on what the
    policy writes then and a tenth of what it wrote before (DeepSeekMath, section 4.1.4).
    """

    base: str | None = None
    pairs: str | None = None
    samples: Samples | None = None
    learns: Literal["from_pairs", "from_rows"] = "from_pairs"
    trains: Literal["all_weights", "adapter"] = "all_weights"
    held_out: Share = 0.2
    per_device_train_batch_size: Count  # pairs, or rows, per forward/backward pass
    gradient_accumulation_steps: Count = 1
    learning_rate: Positive
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    iterate: Count = 1

    @model_validator(mode="after")
    def check(self) -> "RewardModelStage":
        if (self.pairs is None) == (self.samples is None):
            raise ValueError(
                "it learns from completions: write either `pairs: FILE`, or `samples:` for the"
                " policy's own"
            )
        if self.pairs is not None and self.learns == "from_rows":
            raise ValueError("learns: a file has pairs; write from_pairs, or `samples:`")
        if self.pairs is not None and self.iterate > 1:
            raise ValueError(
                f"iterate {self.iterate} rounds would train on the same file of pairs again; write"
                " `samples:`, or leave iterate out"
            )
        if self.held_out == 1:
            raise ValueError("held_out 1.0 leaves nothing to train on")
        return self

    @property
    def rounds(self) -> int:
        return self.iterate

    @property
    def load(self) -> Load:
        rows = self.per_device_train_batch_size
        return Load(
            rows if self.learns == "from_rows" else 2 * rows,
            self.samples.max_completion_length if self.samples else None,
            sampled=self.samples.batch_size if self.samples else 0,
            ranker=self.base,
            ranker_bytes=ALL_TRAINED if self.trains == "all_weights" else NOT_TRAINED,
        )
