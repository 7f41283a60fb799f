"""Loads the model that is trained. The only file that imports unsloth.

Import it before anything that imports torch's other users: Unsloth patches them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from onecard.model.engines.vllm_requests import set_environment

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onecard"
# What Unsloth and others read at import. The user's own environment goes first.
ENVIRONMENT = {
    "UNSLOTH_DISABLE_STATISTICS": "1",  # no call home
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",  # one progress display is enough: ours
    # Lets the backward pass use vLLM's memory. Without vLLM it would only keep torch from growing
    # its segments.
    "UNSLOTH_VLLM_STANDBY": "1" if find_spec("vllm") else "0",
    # How much of what vLLM sampled its correction leaves out, in the trainer's metrics.
    "UNSLOTH_GRPO_ROLLOUT_METRICS": "1",
    # FlashInfer compiles its kernels on the spot, with CUDA's compiler and a C++ one.
    "UNSLOTH_VLLM_NO_FLASHINFER": "1",
    # In 16 bit it would sample from the adapter rounded into the weights.
    "UNSLOTH_VLLM_MERGED_ROLLOUT": "0",
    # Code that Unsloth writes for CUDA: of this version alone, and not in the folder where
    # somebody happens to be.
    "UNSLOTH_COMPILE_LOCATION": str(CACHE / f"unsloth-{version('unsloth')}"),
}
for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)
set_environment()

import unsloth  # isort: skip
import torch
import transformers

from onecard.files.hub import check_code, foreign_code
from onecard.machine.gpu import check_built_for, check_card, find_cards
from onecard.machine.precision import TORCH_NAMES, choose_precision
from onecard.model.policy import Policy
from onecard.model.section import Lora, Model
from onecard.model.targets import check_adapted, target_names
from onecard.model.unsloth_private_names import mark_forward
from onecard.run.library_output import redirect_output
from onecard.types import UserError

transformers.utils.logging.disable_progress_bar()  # one progress display is enough: ours

# How torch and Unsloth, and vLLM in two ways, begin to say it.
OUT_OF_MEMORY = ("out of memory", "no available memory", "free memory on device")
FEWEST_AT_ONCE, MOST_AT_ONCE = 32, 64  # completions in vLLM


def load_tokenizer(model: Model, weights: str) -> Any:
    """The tokenizer of a folder or hub id. Raises UserError where its own code is not trusted."""
    trusted = model.trust_remote_code
    with explain_untrusted_code(weights, trusted):
        tokenizer = transformers.AutoTokenizer.from_pretrained(weights, trust_remote_code=trusted)
    model.chat.apply(tokenizer)
    return tokenizer


def load_policy(
    model: Model,
    lora: Lora,
    weights: str,
    folder: Path,
    *,
    seed: int,
    gradient_checkpointing: bool,
    completions_at_once: int,
    how_to_save: str,
) -> Policy:
    """The model from `weights` (a folder or a hub id), with a fresh LoRA adapter.

    `folder` gets loading.log. `completions_at_once`: of a step, for vLLM. `how_to_save`: one
    sentence, what to type where memory does not hold the model.
    """
    cards = find_cards()
    check_card(cards, needed=model.fast_inference)
    if cards:
        check_built_for(cards[0], torch.cuda.get_arch_list())
    vllm: dict[str, Any] = {}
    if model.fast_inference:
        # Else Unsloth takes 8 to 16 at a time on a small card, however many the cache holds. The
        # cache's share it decides by itself.
        at_once = max(FEWEST_AT_ONCE, min(MOST_AT_ONCE, completions_at_once))
        vllm = {"max_lora_rank": lora.rank, "max_num_seqs": at_once}
    with redirect_output(folder), explain_out_of_memory(model.name, how_to_save):
        loaded, tokenizer = load_model(
            model,
            weights,
            dtype=getattr(torch, TORCH_NAMES[choose_precision(cards)]),
            load_in_4bit=model.load_in_4bit,
            fast_inference=model.fast_inference,
            **vllm,
        )
        # For a model that it does not know in vLLM, Unsloth prints a line and goes on without.
        has_vllm = hasattr(loaded, "vllm_engine")
        if model.fast_inference and not has_vllm and model.without_vllm == "refuse":
            raise UserError(
                f"model.fast_inference: Unsloth does not run {weights} with vLLM;"
                " `model.without_vllm: slower` trains it with transformers' generation, several"
                " times slower"
            )
        targets = target_names(loaded, lora)
        loaded = unsloth.FastLanguageModel.get_peft_model(
            loaded,
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=targets,
            use_gradient_checkpointing="unsloth" if gradient_checkpointing else False,
            random_state=seed,
        )
    check_adapted(loaded, targets)
    mark_forward(loaded.get_base_model())
    tokenizer.padding_side = "left"
    adapter_folder = folder / "live-adapter" if has_vllm else None
    policy = Policy(loaded, tokenizer, weights, longest(loaded, model), adapter_folder)
    policy.rest()  # SFT needs the memory too
    return policy


def load_full_model(model: Model, weights: str, folder: Path) -> Policy:
    """The same model in 32 bit with every weight trainable: for SFT of one that knows nothing."""
    with redirect_output(folder):
        loaded, tokenizer = load_model(
            model,
            weights,
            dtype=torch.float32,
            load_in_4bit=False,
            full_finetuning=True,
            use_gradient_checkpointing=False,
        )
    return Policy(loaded, tokenizer, weights, longest(loaded, model))


def load_model(model: Model, weights: str, **options: Any) -> tuple[Any, Any]:
    """Unsloth's model and tokenizer. Raises UserError where its own code is not trusted."""
    with explain_untrusted_code(weights, model.trust_remote_code):
        loaded, tokenizer = unsloth.FastLanguageModel.from_pretrained(
            weights,
            max_seq_length=model.max_seq_length,
            trust_remote_code=model.trust_remote_code,
            # Else Unsloth would load its own upload of the model, with other 4-bit weights than
            # evaluation, chat and export have of it.
            use_exact_model_name=True,
            **options,
        )
    model.chat.apply(tokenizer)
    return loaded, tokenizer


def longest(loaded: Any, model: Model) -> int:
    """The longest sequence that the loaded model takes: in tokens."""
    most = int(loaded.config.get_text_config().max_position_embeddings)
    return min(model.max_seq_length, most)


@contextmanager
def explain_out_of_memory(name: str, how_to_save: str) -> Iterator[None]:
    """Turns the errors of torch, vLLM and Unsloth over memory into a UserError with advice."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        reason = str(error).strip()
        if not any(words in reason.lower() for words in OUT_OF_MEMORY):
            raise
        raise UserError(
            f"out of memory while loading {name}: {reason.splitlines()[0]} `python -m"
            f" onecard.doctor` says what else is on the card. {how_to_save}"
        ) from error


@contextmanager
def explain_untrusted_code(weights: str, trusted: bool) -> Iterator[None]:
    """Turns the errors of transformers and Unsloth over a model's own code into a UserError."""
    check_code(weights, trusted)
    try:
        yield
    except (ValueError, RuntimeError) as error:
        # Of a model on the hub, whose config is only read here.
        if not trusted and "trust_remote_code" in str(error):
            raise UserError(foreign_code(weights)) from None
        raise
