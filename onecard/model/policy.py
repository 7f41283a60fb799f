"""The model in training: the engine that a run's evaluations ask, and what is saved at its end."""

import hashlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onecard.files.atomic import atomic_folder
from onecard.machine.gpu import find_cards
from onecard.machine.packages import versions
from onecard.model.adapter import TRAINED
from onecard.model.engines.generation import generate
from onecard.model.engines.tokens import end_tokens
from onecard.model.engines.vllm_requests import completion_of, sampling_params
from onecard.model.weights import identity, make_readable, write_base
from onecard.run.process import processes, rank
from onecard.run.together import gather
from onecard.types import Completion, Sampling

PROMPTS_PER_CALL = 256  # to vLLM: between calls the display moves on, and finished rows are kept


def of_all(mine: Iterator[dict[int, Completion]]) -> Iterator[dict[int, Completion]]:
    """The batches of every process, in every process, a round at a time."""
    while any(parts := gather(next(mine, {}))):
        yield {index: one for part in parts for index, one in part.items()}


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
    def has_adapter(self) -> bool:
        """Whether a LoRA adapter is trained; else all weights are."""
        return hasattr(self.model, "peft_config")

    @property
    def end_tokens(self) -> set[int]:
        return end_tokens(self.model.generation_config, self.tokenizer)

    def description(self) -> dict[str, Any]:
        """What answers, as an evaluation keeps it.

        The adapter, which changes from step to step, is told by a hash of its weights.
        """
        adapter = hashlib.sha256()
        for name, weights in self.model.named_parameters():
            if f".{TRAINED}" in name:
                adapter.update(weights.detach().float().cpu().numpy().tobytes())
        engine = "Unsloth with vLLM" if self.adapter_folder else "Unsloth"
        parts = self.model.modules()
        return {
            "engine": f"the policy in training, {engine}",
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "load_in_4bit": any(type(part).__name__ == "Linear4bit" for part in parts),
            "base": identity(self.base),
            "adapter": {"name": "the one in training", "sha256": adapter.hexdigest()},
            "versions": versions("unsloth", "transformers", "torch", "vllm"),
        }

    def generate(
        self, prompts: list[list[int]], sampling: Sampling, done: Collection[int] = ()
    ) -> Iterator[dict[int, Completion]]:
        """Completions of tokenized prompts, with the adapter as it is now, as they are finished."""
        if self.adapter_folder is None:
            # On CUDA Unsloth's generation keeps a cache of its own kind: rows cannot leave it.
            leave, share = not find_cards(), (rank(), processes())
            mine = generate(self.model, self.tokenizer, prompts, sampling, done, leave, share)
            yield from of_all(mine)
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
        """Give the memory of vLLM's cache to training, where Unsloth's standby is on.

        Unsloth wakes vLLM up for the next prompt.
        """
        if self.adapter_folder is not None and os.environ["UNSLOTH_VLLM_STANDBY"] != "0":
            self.model.vllm_engine.sleep(level=2)

    def live_adapter(self) -> Any:
        """The adapter as it is now, for a request to vLLM.

        vLLM shares the base weights alone, and without the adapter it answers as the base.
        """
        return self.model.load_lora(str(self.adapter_folder), load_tensors=True)

    def save(self, folder: Path) -> None:
        """Write the model and the tokenizer, readable by every user.

        Of a LoRA model it is the trained adapter alone, and a note of what its base is.
        """
        # Without a choice, TRL's frozen adapter "ref" is written too.
        chosen = {"selected_adapters": [TRAINED]} if self.has_adapter else {}
        with atomic_folder(folder) as unfinished:
            self.model.save_pretrained(unfinished, **chosen)
            self.tokenizer.save_pretrained(unfinished)
            if self.has_adapter:
                write_base(unfinished, self.base)
            make_readable(unfinished)
