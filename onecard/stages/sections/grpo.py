"""The recipe's section `grpo:`."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from onecard.section import Count, Positive, did_you_mean
from onecard.stages.advantages import Credit
from onecard.stages.losses import Level, Loss, check_loss
from onecard.stages.sections.base import Load, StageSection
from onecard.stages.sections.dynamic_sampling import DynamicSampling
from onecard.stages.trl.fields import SET_BY_ONECARD, trl_fields

# Keys that GRPOConfig does not have.
OURS = {"extra", "iterate", "credit", "final_temperature", "dynamic_sampling"}
ONE_ADVANTAGE = ("vespo",)  # losses that weigh a whole completion by its advantage
Correction = Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]


class Grpo(StageSection):
    """TRL's GRPOConfig, in TRL's words. `extra` takes further fields of it by name.

    The three fields about vLLM say what becomes of tokens whose chance vLLM computes otherwise than
    the trainer: a ratio of the two above `clip_max` is cut there or left out, as the mode says.
    Without vLLM none of them acts.

    `iterate` rounds are trained one after the other, each with a learning rate schedule of its own;
    the reference of the KL term is the policy as a round begins with it.

    `credit` says what a token is credited with (onecard/stages/advantages.py): what its completion
    earned beside the others of its group; what its step and those after it earned; or whether its
    completion is accepted.

    `final_temperature`: of a round's last step; the steps between go there from `temperature` in a
    straight line.
    """

    num_generations: Annotated[int, Field(ge=2)]
    per_device_train_batch_size: Count  # completions per forward/backward pass
    gradient_accumulation_steps: Count = 1
    max_completion_length: Count
    learning_rate: Positive
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    optim: str = "adamw_torch_fused"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Positive = 1.0
    temperature: Positive = 1.0
    final_temperature: Positive | None = None
    dynamic_sampling: DynamicSampling | None = None
    beta: Annotated[float, Field(ge=0)]  # weight of the KL term; 0 leaves the KL curve out
    epsilon: Positive = 0.2
    epsilon_high: Positive = 0.2
    loss_type: Loss = "dapo"
    importance_sampling_level: Level = "token"
    top_entropy_quantile: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the tokens that train
    use_bias_correction_kl: bool = True  # where beta is above 0
    vllm_importance_sampling_mode: Correction = "sequence_mask"
    vllm_importance_sampling_clip_max: Positive | None = 3.0
    vllm_importance_sampling_clip_min: Positive | None = None
    credit: Credit = "outcome"
    scale_rewards: Literal["group", "batch", "none"] = "group"
    multi_objective_aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = (
        "sum_then_normalize"
    )
    num_iterations: Count = 1
    mask_truncated_completions: bool = False
    iterate: Count = 1
    extra: dict[str, Any] = Field(default={})

    @property
    def of_trl(self) -> dict[str, Any]:
        """The values that GRPOConfig takes under the same names, without `extra`."""
        return self.model_dump(exclude=OURS)

    @property
    def rounds(self) -> int:
        return self.iterate

    def temperature_at(self, step: int) -> float:
        """The temperature of sampling at a step of a round, the first one being 0."""
        if self.final_temperature is None:
            return self.temperature
        share = min(1.0, step / max(1, self.max_steps - 1))
        return self.temperature + share * (self.final_temperature - self.temperature)

    @property
    def load(self) -> Load:
        return Load(
            self.per_device_train_batch_size,
            self.max_completion_length,
            sampled=self.completions_per_step,
            group=self.num_generations,
            optim=self.optim,
        )

    @property
    def completions_per_step(self) -> int:
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def prompts_per_step(self) -> int:
        return self.completions_per_step // self.num_generations

    @property
    def normalizes_each(self) -> bool:
        """Whether each reward is normalised in its group before they are summed."""
        return self.multi_objective_aggregation == "normalize_then_sum"

    @model_validator(mode="after")
    def check(self) -> "Grpo":
        size = self.num_generations
        if self.completions_per_step % size:
            low = self.completions_per_step // size * size
            fitting = " or ".join(str(count) for count in (low, low + size) if count)
            raise ValueError(
                f"per_device_train_batch_size {self.per_device_train_batch_size} x"
                f" gradient_accumulation_steps {self.gradient_accumulation_steps} ="
                f" {self.completions_per_step} completions per step, which num_generations {size}"
                f" does not divide; make it {fitting}"
            )
        check_loss(
            self.loss_type,
            self.importance_sampling_level,
            epsilon=self.epsilon,
            epsilon_high=self.epsilon_high,
            scale_rewards=self.scale_rewards,
            delta=self.extra.get("delta") is not None,
        )
        if self.normalizes_each and self.scale_rewards != "group":
            raise ValueError(
                f"scale_rewards {self.scale_rewards} does nothing with multi_objective_aggregation"
                " normalize_then_sum, which divides each reward by its own deviation; leave it out"
            )
        if self.credit == "steps" and self.normalizes_each:
            raise ValueError(
                "credit steps normalises what the steps are paid, all rewards together; leave out"
                " multi_objective_aggregation normalize_then_sum"
            )
        if self.credit == "steps" and self.loss_type in ONE_ADVANTAGE:
            raise ValueError(
                f"credit steps: the loss {self.loss_type} takes one advantage for a completion, and"
                " not one for a token; make it dapo"
            )
        for name in self.extra:
            check_extra(name)
        return self


def check_extra(name: str) -> None:
    """Raise ValueError where `grpo.extra` may not have a field of that name."""
    if name in SET_BY_ONECARD:
        raise ValueError(f"extra: {name} is not taken here: {SET_BY_ONECARD[name]}")
    if name in Grpo.model_fields:
        raise ValueError(f"extra: {name} is a key of grpo itself; write it there")
    if name not in trl_fields():
        nearest = did_you_mean(name, trl_fields())
        raise ValueError(f"extra: TRL's GRPOConfig has no field {name!r}{nearest}")
