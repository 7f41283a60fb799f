"""The model that is trained and asked. The only place that imports unsloth; import this before torch's other users."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")  # no call home
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # one progress display is enough: ours
os.environ.setdefault("UNSLOTH_VLLM_STANDBY", "1")  # read at import; lets vLLM's memory be reused by the backward pass

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it asks for a package of CUDA kernels, on CPU too

import unsloth  # isort: skip
import torch
import transformers

from onecard.recipe import Recipe
from onecard.types import Completion, UserError

transformers.utils.logging.disable_progress_bar()  # one progress display is enough: ours

Message = dict[str, str]


@dataclass(frozen=True)
class Policy:
    """A model and its tokenizer. `adapter_folder` is where the live adapter is handed to vLLM; None without vLLM."""

    model: Any
    tokenizer: Any
    adapter_folder: Path | None = None

    @property
    def end_tokens(self) -> set[int]:
        """The tokens that end a completion: the tokenizer's, and those that the model declares."""
        declared = self.model.generation_config.eos_token_id
        return {self.tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])} - {None}

    def generate(
        self,
        prompts: list[list[Message]],
        max_completion_length: int,
        batch_size: int,
        on_batch: Callable[[int], None] = lambda done: None,
    ) -> list[Completion]:
        """Greedy completions of chat `prompts`, in their order, with the adapter as it is now.

        Batches are sorted by prompt length, so that little of them is padding. `on_batch` is told how many are done.
        """
        texts = [self.tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True) for p in prompts]
        if self.adapter_folder is not None:
            return self.generate_with_vllm(texts, max_completion_length)
        ids = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]), reverse=True)
        completions: dict[int, Completion] = {}
        training = self.model.training
        self.model.eval()
        for first in range(0, len(order), batch_size):
            indices = order[first : first + batch_size]
            batch = self.tokenizer.pad({"input_ids": [ids[i] for i in indices]}, return_tensors="pt", padding_side="left")
            batch = batch.to(self.model.device)
            with torch.inference_mode():
                output = self.model.generate(
                    input_ids=batch["input_ids"],
                    attention_mask=batch["attention_mask"],
                    max_new_tokens=max_completion_length,
                    do_sample=False,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                    pad_token_id=self.tokenizer.pad_token_id,
                )
            for index, row in zip(indices, output[:, batch["input_ids"].shape[1] :].tolist(), strict=True):
                end = next((place for place, token in enumerate(row) if token in self.end_tokens), None)
                text = self.tokenizer.decode(row[:end], skip_special_tokens=True)
                completions[index] = Completion(text, tokens=len(row) if end is None else end + 1, truncated=end is None)
            on_batch(len(completions))
        self.model.train(training)
        return [completions[index] for index in range(len(prompts))]

    def generate_with_vllm(self, texts: list[str], max_completion_length: int) -> list[Completion]:
        """The same through Unsloth's vLLM engine. Without the LoRA request it would answer as the base model."""
        from vllm import SamplingParams

        self.model.save_lora(str(self.adapter_folder))
        outputs = self.model.fast_generate(
            texts,
            sampling_params=SamplingParams(temperature=0.0, max_tokens=max_completion_length),
            lora_request=self.model.load_lora(str(self.adapter_folder)),
        )
        first = [output.outputs[0] for output in outputs]
        return [Completion(o.text, len(o.token_ids), truncated=o.finish_reason == "length") for o in first]

    def save(self, folder: Path) -> None:
        """Write the model, or of a LoRA model the trained adapter alone, and the tokenizer; readable by every user."""
        adapters = {"selected_adapters": ["default"]} if hasattr(self.model, "peft_config") else {}
        self.model.save_pretrained(folder, **adapters)  # without a choice, TRL's frozen "ref" adapter is written too
        self.tokenizer.save_pretrained(folder)
        for file in folder.iterdir():
            file.chmod(0o644)  # save_pretrained makes weights 0600, which shows as 'No such file' to another user


def load_tokenizer(weights: str) -> Any:
    return transformers.AutoTokenizer.from_pretrained(weights)


def load_policy(recipe: Recipe, weights: str, folder: Path) -> Policy:
    """The recipe's model from `weights` (a folder or a hub id), quantized as the recipe says, with a fresh LoRA adapter."""
    vllm = recipe.model.fast_inference
    if vllm and not torch.cuda.is_available():
        raise UserError("model.fast_inference generates with vLLM, which needs a CUDA card; there is none here")
    model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
        weights,
        max_seq_length=recipe.model.max_seq_length,
        load_in_4bit=recipe.model.load_in_4bit,
        fast_inference=vllm,
        **({"max_lora_rank": recipe.lora.rank} if vllm else {}),
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
    tokenizer.padding_side = "left"
    return Policy(model, tokenizer, folder / "live-adapter" if vllm else None)


def load_full_model(recipe: Recipe, weights: str) -> Policy:
    """The same model in 32 bit with every weight trainable: for the warm-up of a model that knows nothing yet."""
    model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
        weights,
        max_seq_length=recipe.model.max_seq_length,
        dtype=torch.float32,
        load_in_4bit=False,
        full_finetuning=True,
        use_gradient_checkpointing=False,
    )
    return Policy(model, tokenizer)
