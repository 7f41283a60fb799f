"""The packages that decide what a run computes."""

from importlib.metadata import PackageNotFoundError, version

NAMES = (
    "unsloth", "unsloth_zoo", "trl", "transformers", "peft", "bitsandbytes", "torch", "triton", "vllm",
    "accelerate", "datasets", "tensorboard",
)  # fmt: skip


def versions(*names: str) -> dict[str, str]:
    """The installed versions of `names`, else of all; one that is not installed is left out, as vLLM is on a laptop."""
    found = {}
    for name in names or NAMES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
