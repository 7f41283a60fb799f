"""All sections of a recipe, and what must hold between them."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from eval.section import Eval
from onecard.data.section import Data
from onecard.data.source import Source, open_source
from onecard.model.section import Lora, Model
from onecard.run.section import Save
from onecard.stages.sections import StageSections
from onecard.types import FOLDER_NAME
from onecard.watch.section import Health
from rewards.answer.section import Answer
from rewards.judges.reward_model import TRAINED, RewardModel
from rewards.rules.length import Overlong
from rewards.section import Scoring
from rewards.table import RewardList


class Recipe(StageSections):
    name: Annotated[str, Field(pattern=FOLDER_NAME)]
    claim: str | None = None  # what this recipe is expected to show, in one sentence
    # What a reader must know before believing the numbers; stands at the top of the report.
    caveat: str | None = None
    # The smallest card it is meant for; None: a laptop.
    card_gb: Literal[8, 12, 16, 24] | None = None
    anchor: str | None = None  # a published result to put beside ours
    measured: str = "not yet"  # what has been measured, and where it stands
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    # Training problems answered before step 1: is there anything to learn? 0: none.
    pilot: Annotated[int, Field(ge=0)] = 32
    model: Model
    lora: Lora
    data: Data
    answer: Answer = Answer()
    rewards: RewardList = Field(default=[])
    scoring: Scoring = Scoring()
    eval: Eval
    save: Save
    health: Health = Health()

    @property
    def longest_completion(self) -> int:
        """The most tokens of a completion, in training or evaluation."""
        return max(self.longest_sampled, self.eval.max_completion_length)

    @property
    def source(self) -> Source:
        """The data set that it names."""
        return open_source(self.data, self.answer.kind)

    @property
    def named_models(self) -> list[tuple[str, str, bool]]:
        """All models that are loaded: the key, the folder or hub id, and whether its code may run.

        But for those that a run makes itself.
        """
        found = [] if self.model.made_here else [("model.name", self.model.name)]
        of_policy = self.model.trust_remote_code
        named = [(key, name, of_policy) for key, name in [*found, *self.models.items()]]
        for reward in self.rewards:
            if isinstance(reward, RewardModel) and reward.model != TRAINED:
                key = "rewards: reward_model.model"
                named.append((key, reward.model, reward.trust_remote_code))
        return named

    def resolved(self) -> dict[str, Any]:
        """Every value, as plain JSON: what it is called first, then the sections."""
        content = self.model_dump(mode="json")
        of_stages = {name: content.pop(name) for name in StageSections.model_fields}
        before = list(content).index("rewards")
        names = list(content)
        ordered = {name: content[name] for name in names[:before]}
        ordered |= of_stages
        return ordered | {name: content[name] for name in names[before:]}

    @model_validator(mode="after")
    def check(self) -> "Recipe":
        """Raise ValueError for the first thing that cannot be, with what to write."""
        self.check_lengths()
        self.check_rewards()
        self.check_choice()
        self.check_evaluations()
        self.check_model()
        return self

    def check_lengths(self) -> None:
        completion = self.longest_completion
        needed = self.data.max_prompt_length + completion
        if needed > self.model.max_seq_length:
            raise ValueError(
                f"data.max_prompt_length {self.data.max_prompt_length} + max_completion_length"
                f" {completion} = {needed} tokens is more than model.max_seq_length"
                f" {self.model.max_seq_length}; raise that to {needed} or lower the others"
            )
        made = self.source.train_problems
        if made is not None and made < self.least_problems:
            raise ValueError(
                f"data.train_problems {made} is fewer than the {self.least_problems} prompts"
                " of a step"
            )

    def check_rewards(self) -> None:
        if self.num_generations and not self.rewards:
            raise ValueError("rewards: completions are sampled in training; write what is paid for")
        if self.rewards and not self.num_generations and self.eval.score is None:
            raise ValueError(
                f"rewards: nothing is sampled in [{', '.join(self.stages)}], so nothing is paid;"
                " leave them out, or name one in eval.score"
            )
        labels = [reward.label for reward in self.rewards]
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(
                f"rewards: {', '.join(sorted(twice))} is listed twice (presets count); give it one"
                " entry and one weight"
            )
        if self.num_generations and all(reward.weight == 0 for reward in self.rewards):
            raise ValueError(
                "rewards: every weight is 0, so nothing would be learned; give one a weight"
            )
        trained = [r for r in self.rewards if isinstance(r, RewardModel) and r.model == TRAINED]
        before_last = "reward_model" in self.stages[:-1]
        if trained and not before_last:
            raise ValueError(
                "rewards: reward_model `model: trained` is trained by a stage before the last one;"
                " write `reward_model:`"
            )
        renewed = self.reward_model is not None and self.reward_model.iterate > 1
        if renewed and any(one.learns for one in trained):
            raise ValueError(
                "rewards: reward_model `online:` goes on learning by itself, so it is not renewed;"
                " leave `online` or reward_model.iterate out"
            )
        if renewed and self.eval.score in [one.label for one in trained]:
            raise ValueError(
                f"eval.score: {self.eval.score} is another model after training than before, with"
                " another scale; leave reward_model.iterate out, or score by another reward"
            )
        if self.answer.kind == "none":
            self.check_without_answers()
        longest = self.grpo.max_completion_length if self.grpo else None
        for reward in self.rewards:
            if longest and isinstance(reward, Overlong) and reward.max_tokens > longest:
                raise ValueError(
                    f"rewards: overlong's max_tokens {reward.max_tokens} is more than"
                    f" grpo.max_completion_length {longest}"
                )

    def check_without_answers(self) -> None:
        """What learns from right and wrong completions needs rows that say which is which."""
        asks = ""
        if self.rft and self.rft.least_reward is None:
            asks = "rft: write least_reward, or"
        elif self.dpo and self.dpo.samples:
            asks = "dpo.samples: write dpo.pairs, or"
        elif self.reward_model and self.reward_model.samples:
            asks = "reward_model.samples: write reward_model.pairs, or"
        elif any(isinstance(one, RewardModel) and one.learns for one in self.rewards):
            asks = "rewards: reward_model `online:` learns from right answers; leave it out, or"
        if asks:
            raise ValueError(f"{asks} give the rows answers: answer.kind is none")

    def check_choice(self) -> None:
        dynamic = self.grpo.dynamic_sampling if self.grpo else None
        by_pass_rate = dynamic is not None and dynamic.choose == "by_pass_rate"
        if by_pass_rate and self.answer.kind == "none":
            raise ValueError(
                "grpo.dynamic_sampling: choose by_pass_rate needs right answers, and answer.kind is"
                " none; write in_turn"
            )
        if self.data.difficulty and not by_pass_rate:
            raise ValueError(
                "data.difficulty is read by grpo.dynamic_sampling: {choose: by_pass_rate} alone;"
                " leave it out"
            )

    def check_evaluations(self) -> None:
        names = self.eval.benchmarks
        if len({Path(name).name.removesuffix(".jsonl") for name in names}) < len(names):
            raise ValueError(f"eval.benchmarks: {', '.join(names)}: one name of them stands twice")
        labels = [reward.label for reward in self.rewards]
        if self.eval.score is not None and self.eval.score not in labels:
            raise ValueError(
                f"eval.score: {self.eval.score!r} is no reward of this recipe; there are:"
                f" {', '.join(labels)}. One with `weight: 0` is scored and not trained on"
            )
        dev = self.source.dev_benchmark
        if self.eval.every_steps and dev in names:
            raise ValueError(
                f"eval.benchmarks: {dev} is what eval.every_steps asks during training; leave it"
                " out of them"
            )

    def check_model(self) -> None:
        if self.grpo and self.grpo.loss_type == "vespo" and self.model.fast_inference:
            mode = self.grpo.vllm_importance_sampling_mode
            if "token" not in mode:
                raise ValueError(
                    f"grpo.loss_type: vespo multiplies the ratios of vLLM's tokens, and"
                    f" vllm_importance_sampling_mode {mode} has one for the whole completion; make"
                    " it token_truncate"
                )
        whole = self.sft is not None and self.sft.trains == "all_weights"
        if self.model.adapter is not None and (whole or self.model.made_here):
            raise ValueError(
                "model.adapter: an adapter belongs to the weights that it was trained on; name them"
                " in model.name, and leave out sft or have it train the adapter"
            )
        if self.model.name != "tiny":
            return
        if self.model.fast_inference:
            raise ValueError(
                "model.fast_inference: the tiny model has no vLLM path; leave it false"
            )
        if self.sft is None or self.sft.trains != "all_weights":
            raise ValueError(
                "model.name: tiny has random weights; it needs `sft:` with `trains: all_weights`"
            )
