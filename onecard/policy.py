"""The model that is trained and asked. The only place that imports unsloth; import this before
torch's other users.
"""

import hashlib
import inspect
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from onecard.vllm_generation import completion_of, sampling_params, set_environment

os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")  # no call home
os.environ.setdefault(
    "HF_DATASETS_DISABLE_PROGRESS_BARS", "1"
)  # one progress display is enough: ours
# Read at import; lets vLLM's memory be reused by the backward pass. Without vLLM it would only keep
# torch from growing its segments.
os.environ.setdefault("UNSLOTH_VLLM_STANDBY", "1" if find_spec("vllm") else "0")
os.environ.setdefault(
    "UNSLOTH_VLLM_NO_FLASHINFER", "1"
)  # it compiles its kernels on the spot, with CUDA's compiler and a C++ one
os.environ.setdefault(
    "UNSLOTH_VLLM_MERGED_ROLLOUT", "0"
)  # in 16 bit it would sample from the adapter rounded into the weights
set_environment()
# Code that Unsloth writes for CUDA: of this version alone, and not in the folder where somebody
# happens to be.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onecard"
os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(CACHE / f"unsloth-{version('unsloth')}"))

logging.getLogger("bitsandbytes").setLevel(
    logging.ERROR
)  # it asks for a package of CUDA kernels, on CPU too

import unsloth  # isort: skip
import torch
import transformers

from onecard.card.memory import how_to_save
from onecard.files.atomic import atomic_folder
from onecard.files.hub import check_code, foreign_code
from onecard.generation import end_tokens, generate
from onecard.machine.gpu import check_built_for, check_card, find_cards, has_bf16
from onecard.machine.packages import versions
from onecard.recipe import Recipe
from onecard.types import Completion, Sampling, UserError
from onecard.weights import identity, make_readable, write_base

transformers.utils.logging.disable_progress_bar()  # one progress display is enough: ours

OUT_OF_MEMORY = (
    "out of memory",
    "no available memory",
    "free memory on device",
)  # torch and Unsloth, vLLM, vLLM
RETURNS_HIDDEN_STATES = (  # Unsloth's own mark of such a forward
    "__UNSLOTH_SUPPORTS_RETURN_HIDDEN_STATES__"
)
PROMPTS_PER_CALL = (
    256  # to vLLM: between calls the progress display moves on, and finished rows are kept
)


@dataclass(frozen=True)
class Policy:
    """The model in training, and its tokenizer: one of the engines that evaluation asks.

    `base`: the folder or hub id it was loaded from. `context`: the longest sequence, in tokens.
    `adapter_folder` is where the live adapter's config is put for vLLM; None without vLLM.
    """

    model: Any
    tokenizer: Any
    base: str
    context: int
    adapter_folder: Path | None = None

    @property
    def end_tokens(self) -> set[int]:
        return end_tokens(self.model.generation_config, self.tokenizer)

    def facts(self) -> dict[str, Any]:
        """What answers, as an evaluation keeps it; the adapter, which changes from step to step, by
        a hash of its weights.
        """
        adapter = hashlib.sha256()
        for name, weights in self.model.named_parameters():
            if ".default" in name:
                adapter.update(weights.detach().float().cpu().numpy().tobytes())
        return {
            "engine": (
                "the policy in training, "
                + ("Unsloth with vLLM" if self.adapter_folder else "Unsloth")
            ),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "load_in_4bit": any(
                type(part).__name__ == "Linear4bit" for part in self.model.modules()
            ),
            "base": identity(self.base),
            "adapter": {"name": "the one in training", "sha256": adapter.hexdigest()},
            "versions": versions("unsloth", "transformers", "torch", "vllm"),
        }

    def generate(
        self, prompts: list[list[int]], sampling: Sampling, done: Collection[int] = ()
    ) -> Iterator[dict[int, Completion]]:
        """Completions of tokenized `prompts` with the adapter as it is now, as they are finished:
        {index of the prompt: completion}.
        """
        if self.adapter_folder is None:
            # On CUDA Unsloth's generation keeps a cache of its own kind, from which rows cannot
            # leave.
            yield from generate(
                self.model,
                self.tokenizer,
                prompts,
                sampling,
                done,
                leave=not torch.cuda.is_available(),
            )
            return
        adapter = self.live_adapter()
        todo = [index for index in range(len(prompts)) if index not in done]
        for first in range(0, len(todo), PROMPTS_PER_CALL):
            indices = todo[first : first + PROMPTS_PER_CALL]
            outputs = self.model.fast_generate(
                [{"prompt_token_ids": prompts[index]} for index in indices],
                sampling_params=[
                    sampling_params(sampling, index, self.end_tokens) for index in indices
                ],
                lora_request=adapter,
                use_tqdm=False,
            )
            yield {
                index: completion_of(output.outputs[0])
                for index, output in zip(indices, outputs, strict=True)
            }
        self.rest()

    def rest(self) -> None:
        """Give the memory of vLLM's cache to training, where Unsloth's standby is on. Unsloth wakes
        vLLM up for the next prompt.
        """
        if self.adapter_folder is not None and os.environ["UNSLOTH_VLLM_STANDBY"] != "0":
            self.model.vllm_engine.sleep(level=2)

    def live_adapter(self) -> Any:
        """The adapter as it is now, for a request to vLLM, which shares the base weights alone and
        without it answers as those.
        """
        return self.model.load_lora(str(self.adapter_folder), load_tensors=True)

    def save(self, folder: Path) -> None:
        """Write the model, or of a LoRA model the trained adapter alone and what its base is, and
        the tokenizer; readable by every user.
        """
        adapters = {"selected_adapters": ["default"]} if hasattr(self.model, "peft_config") else {}
        with atomic_folder(folder) as unfinished:
            self.model.save_pretrained(
                unfinished, **adapters
            )  # without a choice, TRL's frozen "ref" adapter is written too
            self.tokenizer.save_pretrained(unfinished)
            if adapters:
                write_base(unfinished, self.base)
            make_readable(unfinished)


def load_tokenizer(weights: str, trusted: bool = False) -> Any:
    """The tokenizer of a folder or hub id. Raises UserError for one whose own code is not
    trusted.
    """
    with explain_untrusted_code(weights, trusted):
        return transformers.AutoTokenizer.from_pretrained(weights, trust_remote_code=trusted)


def load_model(recipe: Recipe, weights: str, **options: Any) -> tuple[Any, Any]:
    """Unsloth's model and tokenizer. Raises UserError for a model whose own code the recipe does
    not trust.
    """
    trusted = recipe.model.trust_remote_code
    with explain_untrusted_code(weights, trusted):
        model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
            weights,
            max_seq_length=recipe.model.max_seq_length,
            trust_remote_code=trusted,
            # Else Unsloth would load its own upload of the model, with other 4-bit weights than
            # evaluation, chat and export have of it.
            use_exact_model_name=True,
            **options,
        )
    return model, tokenizer


@contextmanager
def redirect_output(folder: Path) -> Iterator[None]:
    """Unsloth and vLLM print a hundred lines and bars while they load a model, and some in the
    first step: loading.log has them.
    """
    with (
        (folder / "loading.log").open("a", encoding="utf-8") as log,
        redirect_stdout(log),
        redirect_stderr(log),
    ):
        yield


@contextmanager
def explain_out_of_memory(recipe: Recipe) -> Iterator[None]:
    """Turns the errors of torch, vLLM and Unsloth over a card's memory into a UserError with
    advice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        reason = str(error).strip()
        if not any(words in reason.lower() for words in OUT_OF_MEMORY):
            raise
        raise UserError(
            f"out of memory while loading {recipe.model.name}: {reason.splitlines()[0]} "
            f"`python -m onecard.doctor` says what else is on the card. {how_to_save(recipe)}"
        ) from error


@contextmanager
def explain_untrusted_code(weights: str, trusted: bool) -> Iterator[None]:
    """Turns the errors of transformers, and of Unsloth, over code that a model brings along into a
    UserError.
    """
    check_code(weights, trusted)
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if not trusted and "trust_remote_code" in str(
            error
        ):  # of a model on the hub, whose config is only read here
            raise UserError(foreign_code(weights)) from None
        raise


def load_policy(recipe: Recipe, weights: str, folder: Path) -> Policy:
    """The recipe's model from `weights` (a folder or a hub id), quantized as the recipe says, with
    a fresh LoRA adapter.
    """
    cards = find_cards()
    check_card(cards, needed=recipe.model.fast_inference)
    if cards:
        check_built_for(cards[0], torch.cuda.get_arch_list())
    # Else Unsloth takes 8 to 16 at a time on a small card, however many the cache holds. The
    # cache's share it decides by itself.
    at_once = max(32, min(64, recipe.grpo.completions_per_step))
    vllm = (
        {"max_lora_rank": recipe.lora.rank, "max_num_seqs": at_once}
        if recipe.model.fast_inference
        else {}
    )
    with redirect_output(folder), explain_out_of_memory(recipe):
        model, tokenizer = load_model(
            recipe,
            weights,
            dtype=(torch.bfloat16 if has_bf16(cards[0]) else torch.float16) if cards else None,
            load_in_4bit=recipe.model.load_in_4bit,
            fast_inference=recipe.model.fast_inference,
            **vllm,
        )
        engine = hasattr(
            model, "vllm_engine"
        )  # for a model that it does not know in vLLM Unsloth prints a line and goes on without
        if recipe.model.fast_inference and not engine and recipe.model.without_vllm == "refuse":
            raise UserError(
                f"model.fast_inference: Unsloth does not run {weights} with vLLM;"
                " `model.without_vllm: slower` trains it with transformers' generation, several"
                " times slower"
            )
        model = unsloth.FastLanguageModel.get_peft_model(
            model,
            r=recipe.lora.rank,
            lora_alpha=recipe.lora.alpha,
            lora_dropout=recipe.lora.dropout,
            target_modules=recipe.lora.target_modules,
            use_gradient_checkpointing="unsloth" if recipe.grpo.gradient_checkpointing else False,
            random_state=recipe.seed,
        )
    mark_forward(model.get_base_model())
    tokenizer.padding_side = "left"
    policy = Policy(
        model,
        tokenizer,
        weights,
        longest(model, recipe),
        folder / "live-adapter" if engine else None,
    )
    policy.rest()  # a warm-up needs the memory too
    return policy


def mark_forward(model: Any) -> None:
    """Tells Unsloth's trainer that its own forward returns the last hidden states when asked, as it
    does in Llama and Qwen.

    Unmarked (2026.10.9), the trainer asks for those of all layers and uses the last: docs/memory.md
    has what that takes.
    """
    code = getattr(inspect.unwrap(type(model).forward), "__code__", None)
    if code and "UNSLOTH_RETURN_HIDDEN_STATES" in code.co_consts:
        setattr(model, RETURNS_HIDDEN_STATES, True)


def load_full_model(recipe: Recipe, weights: str) -> Policy:
    """The same model in 32 bit with every weight trainable: for the warm-up of a model that knows
    nothing yet.
    """
    model, tokenizer = load_model(
        recipe,
        weights,
        dtype=torch.float32,
        load_in_4bit=False,
        full_finetuning=True,
        use_gradient_checkpointing=False,
    )
    return Policy(model, tokenizer, weights, longest(model, recipe))


def longest(model: Any, recipe: Recipe) -> int:
    """The longest sequence that the model, as the recipe loads it, takes: in tokens."""
    return min(
        recipe.model.max_seq_length, int(model.config.get_text_config().max_position_embeddings)
    )


def convert_to_gguf(weights: Path, file: Path, quantization: str, llama_cpp: Path) -> None:
    """Write the 16-bit model in the folder `weights` as the GGUF `file`, with the llama.cpp that is
    built in a folder.

    Not by Unsloth's save_pretrained_gguf but by what that calls: it needs no card, merges nothing
    again, writes nowhere else, and Unsloth's read-back of what was converted is in it. Raises
    UserError with llama.cpp's reason.
    """
    from unsloth_zoo import llama_cpp as tools

    os.environ["UNSLOTH_AUTO_INSTALL"] = (
        "0"  # else a failing converter has pip install other packages into this environment
    )
    direct = quantization in ("bf16", "f16", "q8_0")  # the converter writes these itself
    try:
        quantizer, converter = tools.check_llama_cpp(str(llama_cpp))
        converted = file if direct else file.with_suffix(".unquantized.gguf")
        tools.convert_to_gguf(
            str(converted),
            str(weights),
            quantization_type=quantization if direct else "bf16",
            converter_location=converter,
        )
        if not direct:
            tools.quantize_gguf(
                str(converted), str(file), quantization, quantizer, print_output=False
            )
            converted.unlink()
    # RuntimeError for what llama.cpp says, and what Python itself raises on the way to it
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = next(
            (line for line in reversed(lines) if "Error: " in line), lines[0]
        )  # the end of a traceback, where there is one
        raise UserError(f"llama.cpp in {llama_cpp} did not convert the model: {reason}") from error
