"""The packages that decide what a run computes."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from onecard.types import UserError

NAMES = (
    "unsloth",
    "unsloth_zoo",
    "trl",
    "transformers",
    "peft",
    "bitsandbytes",
    "torch",
    "triton",
    "vllm",
    "accelerate",
    "datasets",
    "tensorboard",
)


def check_vllm() -> None:
    """Raise UserError where vLLM, which a recipe generates with, is not installed."""
    if find_spec("vllm") is None:
        raise UserError(
            "model.fast_inference: vLLM is not installed here; requirements.txt has it, and `--set"
            " model.fast_inference=false` generates with transformers, several times slower"
        )


def versions(*names: str) -> dict[str, str]:
    """The installed versions of `names`, or of all that decide what a run computes.

    One that is not installed is left out, as vLLM is on a laptop.
    """
    found = {}
    for name in names or NAMES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
