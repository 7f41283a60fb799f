"""vLLM standing alone, and the choice between it and transformers."""

import json
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from typing import Any

import torch
from transformers import AutoConfig, GenerationConfig

from onecard.machine.gpu import find_cards, has_bf16, memory_reader
from onecard.machine.packages import versions
from onecard.model.engines.tokens import end_tokens
from onecard.model.engines.transformers import (
    TransformersEngine,
    dtype_of,
    load_tokenizer,
    unloadable,
)
from onecard.model.engines.vllm_requests import completion_of, sampling_params, set_environment
from onecard.model.weights import ADAPTER_CONFIG, Weights
from onecard.types import Completion, Sampling, UserError

# Completions. More need more memory beside the cache, which an 8 GB card has not got (unsloth_zoo's
# table in load_vllm).
MOST_AT_ONCE = 64
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has code for
LARGEST_SHARE = 0.85  # of a card's memory
CUDA_GRAPHS_SHARE = 0.08  # of it, which vLLM does not count; assumed
CPU_SHARE = 0.3  # of the machine's memory: vLLM's CPU build takes its share of that


def load_engine(
    name: str, weights: Weights, load_in_4bit: bool, context: int | None
) -> "TransformersEngine | VllmEngine":
    """The engine `name`: transformers, vllm, or auto, which is vLLM where that can run.

    `context`: the longest sequence, in tokens; None for the model's own, which may need more
    memory than there is.
    """
    has_vllm = find_spec("vllm") is not None
    if name == "vllm" and not has_vllm:
        raise UserError(
            "--engine vllm: vLLM is not installed here; --engine transformers works everywhere"
        )
    if name == "vllm" or (name == "auto" and has_vllm and torch.cuda.is_available()):
        return VllmEngine(weights, load_in_4bit, context)
    return TransformersEngine(weights, load_in_4bit, context)


class VllmEngine:
    """A base, merged or bitsandbytes 4-bit model, and the adapter as a LoRA request.

    It schedules continuously. Which requests share a step depends on timing, so that near ties of
    two tokens may turn from one evaluation to the next.
    """

    def __init__(self, weights: Weights, load_in_4bit: bool, context: int | None) -> None:
        set_environment()
        from vllm import LLM

        self.weights, self.load_in_4bit = weights, load_in_4bit
        self.tokenizer = load_tokenizer(weights)
        self.adapter, lora = adapter_request(weights)
        config = AutoConfig.from_pretrained(weights.base, trust_remote_code=weights.trusted)
        self.revision = getattr(config, "_commit_hash", None)  # of a model from the hub
        longest = int(config.get_text_config().max_position_embeddings)
        chosen: dict[str, Any] = {"quantization": "bitsandbytes"} if load_in_4bit else {}
        cards = find_cards()
        if cards and not has_bf16(cards[0]):
            # Before compute capability 8.0 vLLM's choice is FlashInfer, again to be compiled.
            chosen["attention_backend"] = "TRITON_ATTN"
        try:
            self.llm = LLM(
                model=weights.base,
                dtype=dtype_of(weights, load_in_4bit),
                trust_remote_code=weights.trusted,
                max_model_len=min(context or longest, longest),
                seed=0,
                gpu_memory_utilization=free_share(),
                max_num_seqs=MOST_AT_ONCE,
                enable_prefix_caching=True,
                generation_config="vllm",  # not the model's own temperature and penalties
                **chosen,
                **lora,
            )
        # Memory is told as a ValueError or RuntimeError, after vLLM's own checks.
        except Exception as error:
            raise unloadable(weights.base, error) from None
        self.context = int(self.llm.llm_engine.model_config.max_model_len)
        self.ends = end_tokens(generation_config(weights.base), self.tokenizer)

    def description(self) -> dict[str, Any]:
        import vllm

        dtype = str(self.llm.llm_engine.model_config.dtype).removeprefix("torch.")
        engine = {
            "engine": "vllm",
            "dtype": dtype,
            "load_in_4bit": self.load_in_4bit,
            "revision": self.revision,
        }
        packages = {"versions": versions("torch") | {"vllm": vllm.__version__}}
        return engine | self.weights.description() | packages

    def generate(
        self, prompts: list[list[int]], sampling: Sampling, done: Collection[int] = ()
    ) -> Iterator[dict[int, Completion]]:
        """Each prompt's completion as soon as it is finished; long prompts are started first."""
        engine = self.llm.llm_engine
        todo = [index for index in range(len(prompts)) if index not in done]
        for index in sorted(todo, key=lambda index: len(prompts[index]), reverse=True):
            params = sampling_params(sampling, index, self.ends)
            prompt = {"prompt_token_ids": prompts[index]}
            engine.add_request(str(index), prompt, params, lora_request=self.adapter)
        while engine.has_unfinished_requests():
            finished = {
                int(answer.request_id): completion_of(answer.outputs[0])
                for answer in engine.step()
                if answer.finished
            }
            if finished:
                yield finished


def adapter_request(weights: Weights) -> tuple[Any, dict[str, Any]]:
    """The adapter as a LoRA request, and what the engine must be told for it; None without one."""
    from vllm.lora.request import LoRARequest

    if weights.adapter is None:
        return None, {}
    config = json.loads((weights.adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    rank = config["r"]
    fitting = next((known for known in LORA_RANKS if known >= rank), None)
    if fitting is None:
        raise UserError(
            f"{weights.adapter} has rank {rank}, and vLLM takes {LORA_RANKS[-1]} at most; --engine"
            " transformers takes it"
        )
    request = LoRARequest("adapter", 1, str(weights.adapter.resolve()))
    return request, {"enable_lora": True, "max_lora_rank": fitting}


def generation_config(base: str) -> Any:
    """The model's generation config, or an empty one for a model without."""
    try:
        return GenerationConfig.from_pretrained(base)
    except OSError:
        return GenerationConfig()


def free_share() -> float:
    """The share of a card that vLLM may take.

    Of what is free there, since vLLM refuses to start where more was asked for.
    """
    cards, in_use = find_cards(), memory_reader()  # torch would take memory to count it
    if not cards:
        return CPU_SHARE
    taken = in_use() / cards[0].memory if in_use else 0.0
    return round(min(LARGEST_SHARE, max(0.1, 1 - taken - CUDA_GRAPHS_SHARE)), 2)
