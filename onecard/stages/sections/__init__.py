"""The recipe's sections of the stages, and what they say together. Imports nothing heavy."""

from typing import Any, Literal

from pydantic import Field, model_validator

from onecard.run.round import Round
from onecard.section import Section
from onecard.stages.sections.base import Load, Samples, StageSection
from onecard.stages.sections.distill import Distill
from onecard.stages.sections.dpo import Dpo
from onecard.stages.sections.grpo import Grpo
from onecard.stages.sections.reward_model import RewardModelStage
from onecard.stages.sections.rft import Rft
from onecard.stages.sections.sft import Sft

StageName = Literal["sft", "distill", "reward_model", "rft", "dpo", "grpo"]
# Their order where none is given.
NAMES: tuple[StageName, ...] = ("sft", "distill", "reward_model", "rft", "dpo", "grpo")


class StageSections(Section):
    """The stages of a run and what they are told. A recipe inherits it.

    `stages` is what a run does, in order; left out, it is the sections that are there.
    """

    stages: list[StageName] = Field(default=[])
    sft: Sft | None = None
    distill: Distill | None = None
    reward_model: RewardModelStage | None = None
    rft: Rft | None = None
    dpo: Dpo | None = None
    grpo: Grpo | None = None

    @model_validator(mode="before")
    @classmethod
    def fill_stages(cls, content: Any) -> Any:
        """Without `stages:` it is the sections that are there, in the usual order."""
        if isinstance(content, dict) and not content.get("stages"):
            there = [name for name in NAMES if content.get(name) is not None]
            return content | {"stages": there}
        return content

    @model_validator(mode="after")
    def check_stages(self) -> "StageSections":
        there = [name for name in NAMES if getattr(self, name) is not None]
        if not there:
            raise ValueError(f"there is no stage; write a section for one of {', '.join(NAMES)}")
        if sorted(self.stages) != sorted(there):
            raise ValueError(
                f"stages: [{', '.join(self.stages)}] are not the sections that are there:"
                f" {', '.join(there)}; name each once, or leave `stages` out"
            )
        if self.sft and self.sft.trains == "all_weights" and self.stages[0] != "sft":
            raise ValueError(
                f"stages: sft trains all weights, and {self.stages[0]} before it an adapter of"
                " other weights; make sft the first, or train its adapter"
            )
        self.check_renewal()
        return self

    def check_renewal(self) -> None:
        """A reward model is renewed before each round of the stage after it."""
        rounds = self.reward_model.rounds if self.reward_model else 1
        if rounds == 1:
            return
        following = self.stages[self.stages.index("reward_model") + 1 :]
        if not following or self.in_order[following[0]].rounds != rounds:
            has_rounds = bool(following) and following[0] in ("rft", "dpo", "grpo")
            remedy = f"{following[0]}.iterate: {rounds}" if has_rounds else "grpo after it"
            raise ValueError(
                f"reward_model.iterate {rounds}: it is renewed before each round of the stage after"
                f" it; write {remedy}, or leave it out"
            )

    @property
    def in_order(self) -> dict[StageName, StageSection]:
        """The section of each stage of the run, in order."""
        return {name: getattr(self, name) for name in self.stages}

    @property
    def all_rounds(self) -> list[Round]:
        """What a run does, one after the other: each round of each stage.

        Those of a reward model that is renewed stand between those of the stage after it.
        """
        found: list[Round] = []
        renewed: list[Round] = []
        for name, section in self.in_order.items():
            rounds = rounds_of(name, section, of_last_stage=name == self.stages[-1])
            if name == "reward_model" and len(rounds) > 1:
                renewed = rounds
                continue
            for one in rounds:
                if renewed:
                    found.append(renewed.pop(0))
                found.append(one)
        return found

    @property
    def loads(self) -> dict[StageName, Load]:
        """What each stage has in memory at most."""
        return {name: section.load for name, section in self.in_order.items()}

    @property
    def gradient_checkpointing(self) -> bool:
        return any(section.gradient_checkpointing for section in self.in_order.values())

    @property
    def sampled_at_once(self) -> int:
        """The most completions that a stage generates at once; 0 where none does."""
        return max(load.sampled for load in self.loads.values())

    @property
    def longest_sampled(self) -> int:
        """The most tokens of a completion that a stage generates; 0 where none does."""
        return max(load.completion_length or 0 for load in self.loads.values())

    @property
    def num_generations(self) -> int:
        """Completions of a problem that are scored side by side; 0 where no stage samples."""
        asked: list[Grpo | Samples | None] = [self.grpo]
        asked += [part.samples for part in (self.reward_model, self.rft, self.dpo) if part]
        return max((one.num_generations for one in asked if one), default=0)

    @property
    def pair_files(self) -> dict[str, str]:
        """The files of pairs that stages learn from."""
        parts = {"reward_model": self.reward_model, "dpo": self.dpo}
        return {name: part.pairs for name, part in parts.items() if part and part.pairs}

    @property
    def models(self) -> dict[str, str]:
        """The models that stages load beside the policy, by the key that names each."""
        found = {}
        if self.distill:
            found["distill.teacher"] = self.distill.teacher
        if self.reward_model and self.reward_model.base:
            found["reward_model.base"] = self.reward_model.base
        return found

    @property
    def least_problems(self) -> int:
        """How many problems there must be: as many as one step of GRPO draws."""
        return self.grpo.prompts_per_step if self.grpo else 1

    @property
    def normalizes_each(self) -> bool:
        """Whether each reward is normalised in its group before they are summed."""
        return self.grpo is not None and self.grpo.normalizes_each


def rounds_of(name: str, section: StageSection, of_last_stage: bool) -> list[Round]:
    of = section.rounds
    return [Round(name, n, of, section.max_steps, of_last_stage) for n in range(1, of + 1)]
