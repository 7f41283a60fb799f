"""What a vLLM engine is told and what it answers, for the engine in training and the one that stands alone."""

import zlib
from typing import Any

from onecard.types import Completion, Sampling


def sampling_params(sampling: Sampling, index: int, ends: set[int]) -> Any:
    """vLLM's SamplingParams for prompt `index`. Each prompt has a seed of its own, so that the schedule does not matter."""
    from vllm import SamplingParams

    return SamplingParams(
        temperature=sampling.temperature,
        max_tokens=sampling.max_completion_length,
        seed=zlib.crc32(f"{sampling.seed} {index}".encode()),
        stop=list(sampling.stop),
        stop_token_ids=sorted(ends),
        skip_special_tokens=True,
    )


def completion_of(output: Any) -> Completion:
    return Completion(output.text, len(output.token_ids), truncated=output.finish_reason == "length")
