"""The schema of a recipe: every value that matters, checked before anything heavy is imported."""

from functools import cached_property, reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from eval.benchmarks import BENCHMARKS
from onecard.data.samples import SYNTHETIC, Source
from onecard.grpo import SET_BY_ONECARD, trl_fields
from onecard.health import MAY_STOP
from onecard.machine.models import MADE_HERE
from onecard.section import Count, Positive, Section, Share, did_you_mean
from onecard.types import FOLDER_NAME
from rewards import REWARDS, expand
from rewards.answer import AnswerFormat, format_read_by
from rewards.base import Reward
from rewards.length import Overlong


def known_benchmark(name: str) -> str:
    """The name as it is, or ValueError with the nearest benchmark's."""
    if name not in BENCHMARKS and not name.endswith(".jsonl"):
        nearest = did_you_mean(name, BENCHMARKS)
        raise ValueError(
            f"no such name {name!r}{nearest}; there are: {', '.join(BENCHMARKS)}, or a file of"
            " rows, PATH.jsonl"
        )
    return name


def known_alarm(name: str) -> str:
    """The name as it is, or ValueError with the nearest alarm's."""
    if name not in MAY_STOP:
        raise ValueError(
            f"no alarm {name!r}{did_you_mean(name, MAY_STOP)}; there are: {', '.join(MAY_STOP)}"
        )
    return name


class Model(Section):
    """`name`: a hub id, a folder, or `tiny` or `random-qwen2.5-0.5b`, random-weight models that are
    built on the spot.
    """

    name: str
    load_in_4bit: bool = True
    fast_inference: bool = False  # generate with vLLM, in this process; needs a CUDA card
    without_vllm: Literal["refuse", "slower"] = (
        "refuse"  # what to do with a model that fast_inference does not support
    )
    # run the Python files that a model brings along: only for one whose code you have read
    trust_remote_code: bool = False
    max_seq_length: Count  # prompt + completion, tokens

    @property
    def made_here(self) -> bool:
        return self.name in MADE_HERE


class Lora(Section):
    rank: Count
    alpha: Count
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Annotated[list[str], Field(min_length=1)] = Field(
        default=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )


class Data(Section):
    """`path`: a folder with train.jsonl and test.jsonl in GSM8K's format, or `tiny`, the synthetic
    set.

    Where that folder is absent, the data set `hub_id` is fetched instead.
    """

    path: str
    hub_id: str | None = None
    hub_config: str | None = None
    train_problems: Count = 3000  # how many the synthetic set makes; a real set is used whole
    system_prompt: str | None = None
    max_prompt_length: Count  # tokens; longer training prompts are left out, and counted aloud

    @property
    def source(self) -> Source:
        return Source(self.path, self.hub_id, self.hub_config)


class Warmup(Section):
    """Supervised steps on the data set's own solutions before GRPO, so that there is something to
    reinforce.

    `trains`: `all_weights` for a model that knows nothing yet, `adapter` (the LoRA adapter) for one
    that does.
    """

    trains: Literal["all_weights", "adapter"]
    max_steps: Count
    batch_size: Count
    learning_rate: Positive
    lr_warmup_steps: Annotated[int, Field(ge=0)] = 0


class Grading(Section):
    """What happens when a reward fails: see onecard/grading.py. `deadline_seconds` is for one
    batch, all rewards together.
    """

    on_error: Literal["stop", "skip_group"] = "stop"
    deadline_seconds: Positive = 60.0


if TYPE_CHECKING:
    AnyReward = Reward
else:  # an entry is checked by the schema of the reward that it names
    AnyReward = Annotated[reduce(or_, REWARDS.values()), Field(discriminator="name")]


class Grpo(Section):
    """TRL's GRPOConfig, in TRL's words. `extra` takes further fields of it by name."""

    max_steps: Count
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
    beta: Annotated[float, Field(ge=0)]  # weight of the KL term; 0 leaves the KL curve out
    epsilon: Positive = 0.2
    epsilon_high: Positive = 0.2
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "dapo"
    scale_rewards: Literal["group", "batch", "none"] = "group"
    num_iterations: Count = 1
    mask_truncated_completions: bool = False
    gradient_checkpointing: bool = False
    extra: dict[str, Any] = Field(default={})

    @property
    def completions_per_step(self) -> int:
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def prompts_per_step(self) -> int:
        return self.completions_per_step // self.num_generations

    @model_validator(mode="after")
    def check(self) -> "Grpo":
        if self.completions_per_step % self.num_generations:
            low = self.completions_per_step // self.num_generations * self.num_generations
            raise ValueError(
                f"per_device_train_batch_size {self.per_device_train_batch_size} x"
                f" gradient_accumulation_steps {self.gradient_accumulation_steps} ="
                f" {self.completions_per_step} completions per step, which num_generations"
                f" {self.num_generations} does not divide; make it "
                + " or ".join(str(n) for n in (low, low + self.num_generations) if n)
            )
        if self.epsilon_high < self.epsilon:
            raise ValueError(
                f"epsilon_high {self.epsilon_high} is smaller than epsilon {self.epsilon}; make it"
                " at least that"
            )
        for name in self.extra:
            if name in SET_BY_ONECARD:
                raise ValueError(f"extra: {name} is not taken here: {SET_BY_ONECARD[name]}")
            if name in Grpo.model_fields:
                raise ValueError(f"extra: {name} is a key of grpo itself; write it there")
            if name not in trl_fields():
                raise ValueError(
                    "extra: TRL's GRPOConfig has no field"
                    f" {name!r}{did_you_mean(name, trl_fields())}"
                )
        return self


class Eval(Section):
    """Greedy accuracy on the same problems before and after. `limit`: problems per benchmark, None
    for all.

    With `every_steps`, the first `dev_problems` of the data set's dev split are put to the policy
    before step 1 and during training too.
    """

    benchmarks: Annotated[
        list[Annotated[str, AfterValidator(known_benchmark)]], Field(min_length=1)
    ]
    limit: Count | None = None
    every_steps: Count | None = None
    dev_problems: Count = 64
    batch_size: Count
    max_completion_length: Count


class Save(Section):
    """A checkpoint every so many steps, and whenever so many minutes have passed; the newest `keep`
    stay, and the best on the dev split.
    """

    every_steps: Count
    every_minutes: Positive = 10.0
    keep: Count = 2


class Health(Section):
    """The limits of the health checks: onecard/health.py. "Assumed" is a limit that no source
    gives; those were tried on the tiny recipe and its controls. `stop_on` names alarms that end the
    training early; adapter, evaluation and report are made all the same.
    """

    stop_on: list[Annotated[str, AfterValidator(known_alarm)]] = Field(
        default=["sampling_drift", "skipped_steps"]
    )
    recent_steps: Count = (
        5  # a level is the mean of so many steps, so that one odd batch is no alarm; assumed
    )
    window_steps: Annotated[int, Field(ge=2)] = (
        20  # a trend is the first so many steps against the last; assumed
    )
    quiet_steps: Count = (
        20  # what was told is told again only after it was gone for so long; assumed
    )
    noise: Positive = 2.0  # standard errors that a rise must exceed to be one: the customary 95 %
    flat_warn_steps: Count = (
        200  # Unsloth's GRPO notebooks: it may take 150 to 200 steps until anything is seen
    )
    flat_alarm_steps: Count = 300  # Unsloth's GRPO guide: train for at least 300 steps
    no_signal_warn: Share = (
        0.8  # of groups; assumed. DAPO (arXiv 2503.14476) draws anew until none is left
    )
    no_signal_alarm: Share = 0.95  # assumed: nearly every step is for nothing
    kl_warn: Positive = (
        10.0  # nats a token; assumed. The tiny recipe, which learns, stays below 0.1
    )
    kl_alarm: Positive = 20.0
    # of the first steps' entropy; assumed. arXiv 2505.22617: gains are spent when entropy is
    entropy_share: Share = 0.05
    clipped_ratio: Share = 0.3  # of completions, cut at the limit; assumed
    loss_near_zero: Positive = 0.01  # an explanation, no fault: TRL's issue 2703
    unchanged_steps: Annotated[int, Field(ge=2)] = (
        5  # assumed; more than a warm-up's first step, whose learning rate is 0
    )
    grad_spike: Annotated[float, Field(gt=1)] = 10.0  # times the window's median; assumed
    grad_norm: Positive = (
        1.0  # smaller is no spike: the default max_grad_norm, below which nothing is clipped
    )
    grad_spikes_alarm: Count = 3  # in one window; assumed
    # of dev accuracy, below its best; assumed: 64 dev problems have a standard error of 0.06
    accuracy_fall: Share = 0.1
    pass_at_g_enough: Share = 0.9  # then it need not rise; assumed
    memory_settles: Count = (
        100  # first steps, left out: on a CPU the allocator fills up for 80 or so (LOG.md); assumed
    )
    memory_steps: Annotated[int, Field(ge=4)] = (
        40  # in four quarters, each of which must climb; assumed
    )
    memory_climb: Share = 0.01  # of the memory held, a quarter; assumed
    # nats; kernels that round differently make some hundredths. Assumed: no card has shown it yet
    sampling_drift: Positive = 0.2
    sampling_drift_rise: Annotated[float, Field(gt=1)] = (
        5.0  # times the first steps', where the adapter does nothing yet; assumed
    )
    sampling_drift_steps: Count = 3
    skipped_steps: Count = 10  # in a row; assumed

    @model_validator(mode="after")
    def check(self) -> "Health":
        for lower, upper in (
            ("kl_warn", "kl_alarm"),
            ("no_signal_warn", "no_signal_alarm"),
            ("flat_warn_steps", "flat_alarm_steps"),
        ):
            if getattr(self, lower) > getattr(self, upper):
                raise ValueError(
                    f"{lower} {getattr(self, lower)} is more than {upper} {getattr(self, upper)};"
                    " raise that or lower this"
                )
        return self


class Recipe(Section):
    name: Annotated[str, Field(pattern=FOLDER_NAME)]
    claim: str  # what this recipe is expected to show, in one sentence
    caveat: str | None = (
        # what a reader must know before believing the numbers; stands at the top of the report
        None
    )
    card_gb: Literal[8, 12, 16, 24] | None = (
        None  # the smallest card it is meant for; None: a laptop
    )
    anchor: str | None = None  # a published result to put beside ours
    measured: str = "not yet"  # what has been measured, and where it stands
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    pilot: Annotated[int, Field(ge=0)] = (
        32  # training problems answered before step 1: is there anything to learn? 0: none
    )
    model: Model
    lora: Lora
    data: Data
    warmup: Warmup | None = None
    rewards: Annotated[list[AnyReward], Field(min_length=1)]
    grading: Grading = Grading()
    grpo: Grpo
    eval: Eval
    save: Save
    health: Health = Health()

    @model_validator(mode="after")
    def check(self) -> "Recipe":
        needed = self.data.max_prompt_length + max(
            self.grpo.max_completion_length, self.eval.max_completion_length
        )
        if needed > self.model.max_seq_length:
            raise ValueError(
                f"data.max_prompt_length {self.data.max_prompt_length} + max_completion_length"
                f" {needed - self.data.max_prompt_length} = {needed} tokens is more than"
                f" model.max_seq_length {self.model.max_seq_length}; raise that to {needed} or"
                " lower the others"
            )
        labels = [reward.label for reward in expand(self.rewards)]
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(
                f"rewards: {', '.join(sorted(twice))} is listed twice (presets count); give it one"
                " entry and one weight"
            )
        if all(reward.weight == 0 for reward in self.rewards):
            raise ValueError(
                "rewards: every weight is 0, so nothing would be learned; give one a weight"
            )
        if len({Path(name).name.removesuffix(".jsonl") for name in self.eval.benchmarks}) < len(
            self.eval.benchmarks
        ):
            raise ValueError(
                f"eval.benchmarks: {', '.join(self.eval.benchmarks)}: one name of them stands twice"
            )
        if self.eval.every_steps and self.dev_benchmark in self.eval.benchmarks:
            raise ValueError(
                f"eval.benchmarks: {self.dev_benchmark} is what eval.every_steps asks during"
                " training; leave it out of them"
            )
        if self.data.path == SYNTHETIC and self.data.train_problems < self.grpo.prompts_per_step:
            raise ValueError(
                f"data.train_problems {self.data.train_problems} is fewer than the"
                f" {self.grpo.prompts_per_step} prompts of a step"
            )
        for reward in self.rewards:
            if isinstance(reward, Overlong) and reward.max_tokens > self.grpo.max_completion_length:
                longest = self.grpo.max_completion_length
                raise ValueError(
                    f"rewards: overlong's max_tokens {reward.max_tokens} is more than"
                    f" grpo.max_completion_length {longest}"
                )
        if self.model.name == "tiny" and self.model.fast_inference:
            raise ValueError(
                "model.fast_inference: the tiny model has no vLLM path; leave it false"
            )
        if self.model.name == "tiny" and (
            self.warmup is None or self.warmup.trains != "all_weights"
        ):
            raise ValueError(
                "model.name: tiny has random weights; it needs `warmup:` with `trains: all_weights`"
            )
        return self

    @property
    def dev_benchmark(self) -> str:
        """What is put to the policy during training: never the test split."""
        return "tiny-dev" if self.data.path == SYNTHETIC else "dev"

    @cached_property
    def answer_format(self) -> AnswerFormat:
        """The marker that the rewards read; the warm-up writes it and evaluation reads it, sample
        by sample.
        """
        return format_read_by(expand(self.rewards))
