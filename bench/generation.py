"""How fast a CPU generates and trains here, beside transformers and TRL as they are.

    python -m bench.generation FOLDER      a model's folder, as ../shared/tools/real_model makes one

Eight prompts of GSM8K's form with eight completions each, sampled at temperature 1 to the same
length. Ours and model.generate of transformers take turns; so do a training pass with shared
prompts and TRL's own. The table goes to docs/generation.md: medians, and the ratio round by round.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from onecard.model.load import load_policy  # isort: skip  (unsloth, before all that it patches)
import torch
from accelerate import Accelerator
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from onecard.data.synthetic import Synthetic
from onecard.files.atomic import write_atomic
from onecard.model.engines.generation import one_batch
from onecard.model.section import Lora, Model
from onecard.stages.trl.shared_prompts import score
from onecard.types import Sampling

ROUNDS, PROMPTS, GROUP, NEW, MICRO_BATCH = 3, 8, 8, 48, 8
FILE = Path(__file__).parent.parent / "docs/generation.md"


def load(folder: str, load_in_4bit: bool) -> Any:
    model = Model(name=folder, load_in_4bit=load_in_4bit, max_seq_length=256)
    with TemporaryDirectory() as scratch:
        return load_policy(
            model,
            Lora(rank=32, alpha=64),
            folder,
            Path(scratch),
            seed=0,
            gradient_checkpointing=False,
            completions_at_once=PROMPTS * GROUP,
            how_to_save="",
        )


def chats(tokenizer: Any) -> list[list[int]]:
    """The prompts as tokens, a group's side by side."""
    problems = Synthetic(PROMPTS).load("train")
    asked = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": problem.question}],
            add_generation_prompt=True,
            return_dict=False,
        )
        for problem in problems
    ]
    return [prompt for prompt in asked for _ in range(GROUP)]


def in_turns(one: Callable[[], Any], other: Callable[[], Any]) -> list[tuple[float, float]]:
    """The seconds of both, round by round; a first round is for nothing."""
    found = []
    for _ in range(ROUNDS + 1):
        times = []
        for call in (one, other):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
        found.append((times[0], times[1]))
    return found[1:]


def row(what: str, rounds: list[tuple[float, float]]) -> str:
    ours, theirs = (statistics.median(side) for side in zip(*rounds, strict=True))
    ratio = statistics.median(other / one for one, other in rounds)
    return f"| {what} | {theirs:.1f} | {ours:.1f} | {ratio:.1f} |"


def generation(policy: Any, batch: Any, prompts: list[list[int]]) -> list[tuple[float, float]]:
    model, tokenizer = policy.model, policy.tokenizer
    sampling = Sampling(NEW, len(prompts), temperature=1.0)

    def theirs() -> None:
        model.eval()
        with torch.inference_mode():
            model.generate(
                **batch,
                do_sample=True,
                top_k=0,
                max_new_tokens=NEW,
                pad_token_id=tokenizer.pad_token_id,
            )

    return in_turns(
        lambda: one_batch(model, tokenizer, prompts, sampling, seed=0, leave=True), theirs
    )


def training(policy: Any, batch: Any) -> list[tuple[float, float]]:
    """Forward and backward of all completions, a group in each micro-batch."""
    model = policy.model.train()
    add_fused_lm_head(model.get_base_model(), outputs=("log_probs", "entropy"))
    completions = torch.randint(100, 1000, (len(batch["input_ids"]), NEW))
    ids = torch.cat([batch["input_ids"], completions], dim=1)
    mask = torch.cat([batch["attention_mask"], torch.ones_like(completions)], dim=1)
    trainer: Any = SimpleNamespace(accelerator=Accelerator(cpu=True))

    def whole(scored: Callable[[Any, Any], Any]) -> Callable[[], None]:
        def run() -> None:
            for some_ids, some_mask in zip(
                ids.split(MICRO_BATCH), mask.split(MICRO_BATCH), strict=True
            ):
                scored(some_ids, some_mask)[0].mean().backward()

        return run

    own = GRPOTrainer._get_per_token_logps_and_entropies
    return in_turns(
        whole(lambda ids, mask: score(model, model.get_decoder(), ids, mask, NEW)),
        whole(lambda ids, mask: own(trainer, model, ids, mask, NEW, compute_entropy=True)),
    )


def main() -> None:
    """Measures and writes the table."""
    folder = sys.argv[1]
    lines = []
    for load_in_4bit in (False, True):
        policy = load(folder, load_in_4bit)
        prompts = chats(policy.tokenizer)
        batch = policy.tokenizer.pad(
            {"input_ids": prompts}, return_tensors="pt", padding_side="left"
        )
        weights = "4-bit" if load_in_4bit else "16-bit"
        longest = batch["input_ids"].shape[1]
        lines.append(row(f"generation, {weights} weights", generation(policy, batch, prompts)))
        lines.append(row(f"training pass, {weights} weights", training(policy, batch)))
    text = f"""# Generation and training on a CPU

`python -m bench.generation FOLDER` made this table, with the folder of SmolLM2-135M-Instruct that
has its weights rounded to 4 bits: {PROMPTS} prompts of {longest} tokens, {GROUP} completions of
{NEW} tokens each, {torch.get_num_threads()} threads, a LoRA adapter of rank 32. Seconds are medians
of {ROUNDS} rounds in which both took turns. transformers is its `model.generate`; for training it
is TRL's own pass.

| what | transformers, TRL: s | Onecard: s | times as fast |
|---|---|---|---|
""" + "\n".join(lines)
    write_atomic(FILE, text + "\n")
    print(text)


if __name__ == "__main__":
    main()
