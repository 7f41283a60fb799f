"""What a vLLM engine is told and what it answers: of the one in training, and standing alone."""

import os
import zlib
from collections.abc import Callable
from typing import Any

from onecard.types import Completion, Sampling

# What vLLM and Unsloth read at import, or when an engine is made. The user's own environment goes
# first.
ENVIRONMENT = {
    # Its engine in this process: a forked one finds no card once this one has asked the driver
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",  # it says every step that it falls asleep and wakes up
    "VLLM_NO_USAGE_STATS": "1",  # no call home
    "VLLM_USE_FLASHINFER_SAMPLER": "0",  # it compiles its kernels on the spot, with CUDA's compiler
    # Without it vLLM's engine does not start in WSL2 (vLLM's issue 47387). It means nothing
    # elsewhere.
    "VLLM_WSL2_ENABLE_PIN_MEMORY": "1",
}


def set_environment() -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def sampling_params(sampling: Sampling, index: int, ends: set[int]) -> Any:
    """vLLM's SamplingParams for prompt `index`.

    Each prompt has a seed of its own, so that the schedule does not matter.
    """
    from vllm import SamplingParams

    return SamplingParams(
        temperature=sampling.temperature,
        max_tokens=sampling.max_completion_length,
        seed=zlib.crc32(f"{sampling.seed} {index}".encode()),
        stop=list(sampling.stop),
        stop_token_ids=sorted(ends),
        skip_special_tokens=False,  # where <think> is one, rewards are to see it
    )


def completion_of(output: Any) -> Completion:
    ids = tuple(output.token_ids)
    return Completion(output.text, len(ids), output.finish_reason == "length", ids)


def seed_requests(engine: Any, seed: int, step: Callable[[], int]) -> None:
    """Give every later request to this engine that has no seed one of its own.

    It is made from the run's seed, the step, the prompt, and which of the step's requests it is. A
    resumed run then does not draw again what it drew before. Without a seed vLLM draws from one
    stream that begins alike in every process.
    """
    plain = engine.generate
    asked = [-1, 0]  # a step, and how many requests it has had

    def generate(prompts: Any, sampling_params: Any = None, *arguments: Any, **named: Any) -> Any:
        if asked[0] != step():
            asked[:] = [step(), 0]
        several = isinstance(prompts, list | tuple)
        every = list(prompts) if several else [prompts]
        if isinstance(sampling_params, list | tuple):
            given = list(sampling_params)
        else:
            given = [sampling_params] * len(every)
        seeded = []
        for prompt, params in zip(every, given, strict=True):
            asked[1] += 1
            own = params.clone()
            if own.seed is None:
                own.seed = zlib.crc32(f"{seed} {asked[0]} {asked[1]} {prompt!r}".encode())
            seeded.append(own)
        return plain(prompts, seeded if several else seeded[0], *arguments, **named)

    engine.generate = generate
