"""Engines that stand alone: transformers, on any machine, and vLLM. Nothing here imports unsloth or
trl.
"""

import importlib.util
import json
import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
)

from eval.target import Target
from onecard.generation import end_tokens, generate
from onecard.machine.gpu import find_cards, has_bf16, memory_reader
from onecard.machine.packages import versions
from onecard.types import Completion, Sampling, UserError
from onecard.vllm_generation import completion_of, sampling_params, set_environment

logging.getLogger("bitsandbytes").setLevel(
    logging.ERROR
)  # it asks for a package of CUDA kernels, on CPU too
transformers.utils.logging.disable_progress_bar()  # one progress display is enough: ours


# completions; more need more memory beside the cache, which an 8 GB card has not got (unsloth_zoo's
# table in load_vllm)
MOST_AT_ONCE = 64
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has code for


def load_engine(
    name: str, target: Target, load_in_4bit: bool, context: int | None
) -> "TransformersEngine | VllmEngine":
    """The engine `name` (transformers, vllm; auto: vLLM where there are both it and a CUDA card)
    with the target's weights.

    `context`: the longest sequence, in tokens; None for the model's own, which may need more memory
    than there is.
    """
    has_vllm = importlib.util.find_spec("vllm") is not None
    if name == "vllm" and not has_vllm:
        raise UserError(
            "--engine vllm: vLLM is not installed here; --engine transformers works everywhere"
        )
    if name == "vllm" or (name == "auto" and has_vllm and torch.cuda.is_available()):
        return VllmEngine(target, load_in_4bit, context)
    return TransformersEngine(target, load_in_4bit, context)


def load_tokenizer(target: Target) -> Any:
    """The adapter's tokenizer, where it was saved with one: its chat template is the one that was
    trained with.
    """
    saved = target.adapter is not None and (target.adapter / "tokenizer_config.json").is_file()
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            target.adapter if saved else target.base, trust_remote_code=target.trusted
        )
    except Exception as error:  # a damaged file has as many classes as there are formats
        raise unloadable(
            f"the tokenizer of {target.adapter if saved else target.base}", error
        ) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def precision(base: str, load_in_4bit: bool, trusted: bool) -> torch.dtype:
    """Half precision on a card and for 4-bit weights, as in training; elsewhere what the weights
    are stored in.
    """
    if torch.cuda.is_available() or load_in_4bit:
        # torch.cuda.is_bf16_supported() is True where bf16 is only emulated, which vLLM refuses and
        # training does not use.
        return (
            torch.float16
            if torch.cuda.is_available() and not has_bf16(find_cards()[0])
            else torch.bfloat16
        )
    stored: torch.dtype = (
        AutoConfig.from_pretrained(base, trust_remote_code=trusted).dtype or torch.float32
    )
    return stored


def generation_config(base: str) -> Any:
    """The model's generation config, or an empty one for a model without."""
    try:
        return GenerationConfig.from_pretrained(base)
    except OSError:
        return GenerationConfig()


def load_model(base: str, load_in_4bit: bool, trusted: bool) -> Any:
    """The base model on the card, where there is one; in NF4 as QLoRA trains it, or as it is."""
    dtype = precision(base, load_in_4bit, trusted)
    quantized = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return AutoModelForCausalLM.from_pretrained(
        base,
        dtype=dtype,
        trust_remote_code=trusted,
        device_map={"": 0 if torch.cuda.is_available() else "cpu"},
        **({"quantization_config": quantized} if load_in_4bit else {}),
    )


def with_adapter(model: Any, adapter: Path, base: str) -> Any:
    """The model with a LoRA adapter on it. Raises UserError unless every one of the adapter's
    tensors has its place there: PEFT itself only warns, and the base would answer in the adapter's
    name."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    try:
        with safe_open(str(adapter / "adapter_model.safetensors"), framework="pt") as file:
            stored = set(file.keys())
        tuned = PeftModel.from_pretrained(model, str(adapter))
    except Exception as error:
        raise UserError(
            f"{adapter} does not fit {base}: {type(error).__name__}: {str(error).splitlines()[0]}"
        ) from None
    if wrong := stored ^ set(get_peft_model_state_dict(tuned, save_embedding_layers=False)):
        raise UserError(
            f"{adapter} does not fit {base}: {len(wrong)} of its tensors, such as {min(wrong)}, are"
            " not the model's"
        )
    return tuned


def unloadable(what: str, error: Exception) -> UserError:
    return UserError(
        f"{what} cannot be loaded: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    )


class TransformersEngine:
    """A model loaded by transformers, 4-bit as QLoRA trains it (NF4, double quantization), and its
    adapter loaded by PEFT.
    """

    def __init__(self, target: Target, load_in_4bit: bool, context: int | None) -> None:
        self.target, self.load_in_4bit = target, load_in_4bit
        self.tokenizer = load_tokenizer(target)
        try:
            self.model = load_model(target.base, load_in_4bit, target.trusted)
        except Exception as error:
            raise unloadable(target.base, error) from None
        if target.adapter is not None:
            self.model = with_adapter(self.model, target.adapter, target.base)
        longest = int(self.model.config.get_text_config().max_position_embeddings)
        self.context = min(context or longest, longest)

    def facts(self) -> dict[str, Any]:
        dtype, device = str(self.model.dtype).removeprefix("torch."), self.model.device.type
        engine = {
            "engine": "transformers",
            "dtype": dtype,
            "device": device,
            "load_in_4bit": self.load_in_4bit,
        }
        engine["revision"] = getattr(
            self.model.config, "_commit_hash", None
        )  # of a model from the hub
        return engine | self.target.facts() | {"versions": versions("transformers", "torch")}

    def generate(
        self, prompts: list[list[int]], sampling: Sampling, done: Collection[int] = ()
    ) -> Iterator[dict[int, Completion]]:
        yield from generate(self.model, self.tokenizer, prompts, sampling, done)


def free_share() -> float:
    """The share of a card that vLLM may take: of what is free there, since it refuses to start
    where more was asked for, and at most 0.85.

    vLLM's CPU build takes its share of the machine's memory: less of that.
    """
    cards, in_use = find_cards(), memory_reader()  # torch would take memory to count it
    if not cards:
        return 0.3
    taken = in_use() / cards[0].memory if in_use else 0.0
    return round(
        min(0.85, max(0.1, 1 - taken - 0.08)), 2
    )  # 0.08: CUDA graphs, which it does not count; assumed


class VllmEngine:
    """vLLM by itself: a base, merged or bitsandbytes 4-bit model, and the adapter as a LoRA
    request. It schedules continuously.

    Which requests share a step depends on timing, so that near ties of two tokens may turn from one
    evaluation to the next.
    """

    def __init__(self, target: Target, load_in_4bit: bool, context: int | None) -> None:
        set_environment()
        from vllm import LLM
        from vllm.lora.request import LoRARequest

        self.target, self.load_in_4bit = target, load_in_4bit
        self.tokenizer = load_tokenizer(target)
        lora: dict[str, Any] = {}
        self.adapter = None
        if target.adapter is not None:
            rank = json.loads((target.adapter / "adapter_config.json").read_text(encoding="utf-8"))[
                "r"
            ]
            fitting = next((r for r in LORA_RANKS if r >= rank), None)
            if fitting is None:
                raise UserError(
                    f"{target.adapter} has rank {rank}, and vLLM takes {LORA_RANKS[-1]} at most;"
                    " --engine transformers takes it"
                )
            lora = {"enable_lora": True, "max_lora_rank": fitting}
            self.adapter = LoRARequest("adapter", 1, str(target.adapter.resolve()))
        config = AutoConfig.from_pretrained(target.base, trust_remote_code=target.trusted)
        self.revision = getattr(config, "_commit_hash", None)  # of a model from the hub
        longest = int(config.get_text_config().max_position_embeddings)
        cards = find_cards()
        try:
            self.llm = LLM(
                model=target.base,
                dtype=precision(target.base, load_in_4bit, target.trusted),
                trust_remote_code=target.trusted,
                max_model_len=min(context or longest, longest),
                seed=0,
                gpu_memory_utilization=free_share(),
                max_num_seqs=MOST_AT_ONCE,
                enable_prefix_caching=True,
                generation_config="vllm",  # not the model's own temperature and penalties
                **({"quantization": "bitsandbytes"} if load_in_4bit else {}),
                # Before compute capability 8.0 vLLM's choice is FlashInfer, again to be compiled.
                **(
                    {"attention_backend": "TRITON_ATTN"} if cards and not has_bf16(cards[0]) else {}
                ),
                **lora,
            )
        except (
            Exception
        ) as error:  # memory is told as a ValueError or RuntimeError, after vLLM's own checks
            raise unloadable(target.base, error) from None
        self.context = int(self.llm.llm_engine.model_config.max_model_len)
        self.ends = end_tokens(generation_config(target.base), self.tokenizer)

    def facts(self) -> dict[str, Any]:
        import vllm

        dtype = str(self.llm.llm_engine.model_config.dtype).removeprefix("torch.")
        engine = {
            "engine": "vllm",
            "dtype": dtype,
            "load_in_4bit": self.load_in_4bit,
            "revision": self.revision,
        }
        return (
            engine
            | self.target.facts()
            | {"versions": versions("torch") | {"vllm": vllm.__version__}}
        )

    def generate(
        self, prompts: list[list[int]], sampling: Sampling, done: Collection[int] = ()
    ) -> Iterator[dict[int, Completion]]:
        """Each prompt's completion as soon as it is finished; the longest prompts are started
        first.
        """
        engine = self.llm.llm_engine
        for index in sorted(
            set(range(len(prompts))) - set(done),
            key=lambda index: len(prompts[index]),
            reverse=True,
        ):
            params = sampling_params(sampling, index, self.ends)
            engine.add_request(
                str(index), {"prompt_token_ids": prompts[index]}, params, lora_request=self.adapter
            )
        while engine.has_unfinished_requests():
            finished = {
                int(answer.request_id): completion_of(answer.outputs[0])
                for answer in engine.step()
                if answer.finished
            }
            if finished:
                yield finished
