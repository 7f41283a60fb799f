"""The recipe's `model:` and `lora:`."""

from typing import Annotated, Literal

from pydantic import Field

from onecard.machine.model_shapes import MADE_HERE
from onecard.section import Count, Section


class Model(Section):
    """`name`: a hub id, a folder, or a random-weight model that is built on the spot.

    Those are `tiny` and `random-qwen2.5-0.5b`.
    """

    name: str
    load_in_4bit: bool = True
    fast_inference: bool = False  # generate with vLLM, in this process; needs a CUDA card
    # What to do with a model that Unsloth does not run with vLLM.
    without_vllm: Literal["refuse", "slower"] = "refuse"
    # Run the Python files that a model brings along: only for one whose code you have read.
    trust_remote_code: bool = False
    max_seq_length: Count  # prompt + completion, tokens

    @property
    def made_here(self) -> bool:
        return self.name in MADE_HERE


class Lora(Section):
    """The adapter that is trained."""

    rank: Count
    alpha: Count
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Annotated[list[str], Field(min_length=1)] = Field(
        default=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )
