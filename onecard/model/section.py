"""The recipe's `model:` and `lora:`."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from onecard.machine.model_shapes import MADE_HERE
from onecard.model.chat_template import ChatSettings
from onecard.section import Count, Section

ALL_LINEAR = "all-linear"
NO_LINEAR_LAYERS = ("embed_tokens", "lm_head")  # the words' vectors, at both ends of a model


class Model(Section):
    """`name`: a hub id, a folder, or a random-weight model that is built on the spot.

    Those are `tiny` and `random-qwen2.5-0.5b`. `chat_template_kwargs` are values that the model's
    chat template asks for, as enable_thinking of Qwen3's: in training, evaluation and export alike.
    `chat_template` is a file with another chat template, such as for a base model that has none.
    `adapter` is a run's folder, or an adapter's: training goes on from it.
    """

    name: str
    adapter: str | None = None
    load_in_4bit: bool = True
    fast_inference: bool = False  # generate with vLLM, in this process; needs a CUDA card
    # What to do with a model that Unsloth does not run with vLLM.
    without_vllm: Literal["refuse", "slower"] = "refuse"
    # Run the Python files that a model brings along: only for one whose code you have read.
    trust_remote_code: bool = False
    chat_template: str | None = None
    chat_template_kwargs: dict[str, str | int | float | bool | None] = Field(default={})
    max_seq_length: Count  # prompt + completion, tokens

    @property
    def made_here(self) -> bool:
        return self.name in MADE_HERE

    @property
    def chat(self) -> ChatSettings:
        return ChatSettings(self.chat_template, self.chat_template_kwargs)


class Lora(Section):
    """The adapter that is trained.

    `target_modules`: names of the model's linear layers, or `all-linear`, as PEFT has it.
    """

    rank: Count
    alpha: Count
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)] = Field(
        default=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )

    @field_validator("target_modules")
    @classmethod
    def check_targets(cls, names: str | list[str]) -> str | list[str]:
        for name in NO_LINEAR_LAYERS:
            if name in names:
                raise ValueError(
                    f"{name} is not trained here: vLLM takes adapters on linear layers alone, so it"
                    " would generate without what was trained; leave it out"
                )
        return names
