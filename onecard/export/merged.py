"""The adapter added to its base model in 16 bit: one model, as anything loads it.

What was written is loaded again from the disk and compared with base and adapter: the
log-probabilities of a few greedy completions may differ by rounding alone, and by less than the
adapter itself changes them.
"""

import gc
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onecard.console.display import Display
from onecard.data.prompts import prompt_for, render, tokenize
from onecard.model.weights import Weights, make_readable
from onecard.target import Target
from onecard.types import Problem, Sampling, UserError

PROMPTS = (
    "Natalia has 12 clips and buys 9 more. How many clips does she have now?",
    "A train covers 60 miles in an hour. How far does it get in 4 hours?",
    "Mia has 2 coins. On Monday the number of coins doubles. How many coins does Mia have now?",
    "What is half of 18?",
)
COMPLETION_LENGTH = 64  # tokens of each that are compared
# nats, mean over tokens; a guess at what is more than rounding: the tiny recipe's is in LOG.md
LARGEST_DRIFT = 0.05


@dataclass(frozen=True)
class Drift:
    """Mean absolute differences of log-probabilities, in nats a token: of the merged model and of
    the base, from base and adapter.
    """

    merged: float
    base: float

    def check(self) -> None:
        """Raise UserError unless the merged model is base and adapter to within rounding, and
        rounding does not hide the adapter.
        """
        if not self.merged <= LARGEST_DRIFT:
            raise UserError(
                f"the merged model drifts from base and adapter by {self.merged:.3f} nats a token,"
                f" and rounding explains {LARGEST_DRIFT} at most; nothing was kept"
            )
        if not self.merged < self.base:
            raise UserError(
                f"rounding to 16 bit moves the model by {self.merged:.2g} nats a token and the"
                f" adapter itself by {self.base:.2g}, so that would be lost; nothing was kept. Use"
                " base and adapter, or train for longer"
            )


def check_base(target: Target) -> None:
    """Raise UserError, before any weights are fetched, for a base that is stored in 4 or 8 bit.

    What is merged into it stays so.
    """
    from transformers import AutoConfig

    from onecard.model.engines.transformers import unloadable

    base = target.weights.base
    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=target.weights.trusted)
    except Exception as error:  # a damaged file has as many classes as there are formats
        raise unloadable(base, error) from None
    if getattr(config, "quantization_config", None):
        where = "base_model_name_or_path in its adapter_config.json"
        if target.recipe:
            where = "model.name in its recipe.resolved.yaml"
        raise UserError(
            f"{base} is stored quantized, so there is no 16-bit model to merge into; write its"
            f" 16-bit original's name as {where}"
        )


def write_merged(target: Target, folder: Path, display: Display) -> Drift:
    """Write the merged model and its tokenizer to `folder`, which is empty.

    Raises UserError if what was written is not the same.
    """
    import torch

    check_base(target)
    try:
        return merge(target, folder, display)
    except torch.OutOfMemoryError:
        raise UserError(
            f"the card has no room for {target.weights.base} in 16 bit; CUDA_VISIBLE_DEVICES="
            " before the command merges it in the machine's memory"
        ) from None


def merge(target: Target, folder: Path, display: Display) -> Drift:
    import torch

    from onecard.model.engines.transformers import TransformersEngine

    # As it is stored: what is added is rounded once.
    weights = replace(target.weights, as_trained=False)
    display.say(f"loading {weights.base} and {weights.adapter} in 16 bit")
    engine = TransformersEngine(weights, load_in_4bit=False, context=None)
    needed, free = engine.model.num_parameters() * 2, shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the merged model needs {needed / 1e9:.1f} GB and the disk of {folder.parent} has"
            f" {free / 1e9:.1f} GB free"
        )
    prompts = prompts_of(engine.tokenizer, target)
    display.say(f"writing {len(prompts)} completions to compare by, then merging")
    completions: dict[int, str] = {}
    for batch in engine.generate(prompts, Sampling(COMPLETION_LENGTH, batch_size=1)):
        completions |= {index: completion.text for index, completion in batch.items()}
    written = tokenize(engine.tokenizer, [completions[index] for index in range(len(prompts))])
    sequences = list(zip(prompts, written, strict=True))
    tuned = logprobs(engine.model, sequences)
    with engine.model.disable_adapter():
        base = logprobs(engine.model, sequences)
    # Added in no less than the precision that both are stored in, and rounded once.
    engine.model.merge_and_unload().to(torch.bfloat16).save_pretrained(folder)
    engine.tokenizer.save_pretrained(folder)
    make_readable(folder)
    del engine
    gc.collect()  # a card that has room for one of them may have none for two
    torch.cuda.empty_cache()
    merged = TransformersEngine(Weights(str(folder)), load_in_4bit=False, context=None)
    if prompts_of(merged.tokenizer, target) != prompts:
        raise UserError(
            f"the tokenizer of {weights.base} puts a prompt in other tokens once it was saved and"
            " loaded; nothing was kept"
        )
    drift = Drift(
        merged=float((logprobs(merged.model, sequences) - tuned).abs().mean()),
        base=float((base - tuned).abs().mean()),
    )
    drift.check()
    return drift


def prompts_of(tokenizer: Any, target: Target) -> list[list[int]]:
    """The prompts by which two models are compared, as tokens."""
    system_prompt = target.recipe.data.system_prompt if target.recipe else None
    messages = [prompt_for(Problem("", question, ""), system_prompt) for question in PROMPTS]
    return tokenize(tokenizer, [render(tokenizer, conversation) for conversation in messages])


def logprobs(model: Any, sequences: list[tuple[list[int], list[int]]]) -> Any:
    """The log-probability in nats of each token of each completion after its prompt, one after
    another.
    """
    import torch

    found = []
    for prompt, completion in sequences:
        tokens = torch.tensor([prompt + completion], device=model.device)
        with torch.inference_mode():
            logits = model(input_ids=tokens).logits[0, len(prompt) - 1 : -1].float()
        found.append(
            torch.log_softmax(logits, -1).gather(-1, tokens[0, len(prompt) :, None])[:, 0].cpu()
        )
    return torch.cat(found)
