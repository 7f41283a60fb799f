"""A model loaded by transformers, standing alone: on any machine, with its adapter on it."""

import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from onecard.machine.gpu import find_cards
from onecard.machine.packages import versions
from onecard.machine.precision import TORCH_NAMES, choose_precision, cpu_has_bf16
from onecard.model.engines.generation import generate
from onecard.model.weights import ADAPTER_WEIGHTS, Weights
from onecard.types import Completion, Sampling, UserError

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # asks for CUDA kernels, on a CPU too
transformers.utils.logging.disable_progress_bar()  # one progress display is enough: ours


class TransformersEngine:
    """4-bit as QLoRA trains it (NF4, double quantization) or 16-bit; the adapter loaded by PEFT.

    `context`: the longest sequence, in tokens; None for the model's own, which may need more
    memory than there is.
    """

    def __init__(self, weights: Weights, load_in_4bit: bool, context: int | None) -> None:
        self.weights, self.load_in_4bit = weights, load_in_4bit
        self.tokenizer = load_tokenizer(weights)
        try:
            self.model = load_model(weights, load_in_4bit)
        except Exception as error:
            raise unloadable(weights.base, error) from None
        if weights.adapter is not None:
            self.model = with_adapter(self.model, weights.adapter, weights.base)
        longest = int(self.model.config.get_text_config().max_position_embeddings)
        self.context = min(context or longest, longest)

    def description(self) -> dict[str, Any]:
        engine = {
            "engine": "transformers",
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "load_in_4bit": self.load_in_4bit,
            # Of a model from the hub.
            "revision": getattr(self.model.config, "_commit_hash", None),
        }
        packages = {"versions": versions("transformers", "torch")}
        return engine | self.weights.description() | packages

    def generate(
        self, prompts: list[list[int]], sampling: Sampling, done: Collection[int] = ()
    ) -> Iterator[dict[int, Completion]]:
        yield from generate(self.model, self.tokenizer, prompts, sampling, done)


def load_tokenizer(weights: Weights) -> Any:
    """The adapter's tokenizer, where it was saved with one: it was trained with that template."""
    adapter = weights.adapter
    saved = adapter is not None and (adapter / "tokenizer_config.json").is_file()
    folder = adapter if saved else weights.base
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=weights.trusted)
    except Exception as error:  # a damaged file has as many classes as there are formats
        raise unloadable(f"the tokenizer of {folder}", error) from None
    if not saved:  # what was saved with an adapter is as it was trained
        weights.chat.apply(tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(weights: Weights, load_in_4bit: bool) -> Any:
    """The base model on the card, where there is one; in NF4 as QLoRA trains it, or as it is."""
    dtype = dtype_of(weights, load_in_4bit)
    quantization = {}
    if load_in_4bit:
        quantization["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    return AutoModelForCausalLM.from_pretrained(
        weights.base,
        dtype=dtype,
        trust_remote_code=weights.trusted,
        device_map={"": 0 if torch.cuda.is_available() else "cpu"},
        **quantization,
    )


def dtype_of(weights: Weights, load_in_4bit: bool) -> torch.dtype:
    """What the model computes in: as in training, or on a CPU as it is stored.

    16-bit numbers that the CPU would only emulate are computed in fp32: no less precise, and
    several times as fast (LOG.md).
    """
    cards = find_cards()
    if cards or load_in_4bit or weights.as_trained:
        chosen: torch.dtype = getattr(torch, TORCH_NAMES[choose_precision(cards)])
        return chosen
    config = AutoConfig.from_pretrained(weights.base, trust_remote_code=weights.trusted)
    return torch.bfloat16 if config.dtype == torch.bfloat16 and cpu_has_bf16() else torch.float32


def with_adapter(model: Any, adapter: Path, base: str) -> Any:
    """The model with a LoRA adapter on it.

    Raises UserError unless every one of the adapter's tensors has its place there. PEFT itself only
    warns, and the base would answer in the adapter's name.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    try:
        with safe_open(str(adapter / ADAPTER_WEIGHTS), framework="pt") as file:
            stored = set(file.keys())
        tuned = PeftModel.from_pretrained(model, str(adapter))
    except Exception as error:
        raise UserError(
            f"{adapter} does not fit {base}: {type(error).__name__}: {str(error).splitlines()[0]}"
        ) from None
    if wrong := stored ^ set(get_peft_model_state_dict(tuned, save_embedding_layers=False)):
        raise UserError(
            f"{adapter} does not fit {base}: {len(wrong)} of its tensors, such as {min(wrong)},"
            " are not the model's"
        )
    return tuned


def unloadable(what: str, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [""])[0]
    return UserError(f"{what} cannot be loaded: {type(error).__name__}: {reason}")
