"""What a run trained, for use elsewhere: `python -m onecard.export RUN --to merged`.

The adapter is added to its base model in 16 bit. What is on the disk is then loaded again and compared with base and adapter:
the log-probabilities of a few greedy completions may differ by rounding alone, or the export is taken back.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from eval.target import Target, find_target
from onecard.data.samples import prompt_for
from onecard.display import Display
from onecard.types import Sample, Sampling, UserError
from onecard.weights import make_readable

PROMPTS = (
    "Natalia has 12 clips and buys 9 more. How many clips does she have now?",
    "A train covers 60 miles in an hour. How far does it get in 4 hours?",
    "Mia has 2 coins. On Monday the number of coins doubles. How many coins does Mia have now?",
    "What is half of 18?",
)
COMPLETION_LENGTH = 64  # tokens of each that are compared
LARGEST_DRIFT = 0.05  # nats, mean over tokens; rounding the merged weights of the tiny recipe to bf16 moves 0.0024 (LOG.md)


def export_merged(target: Target, folder: Path, display: Display) -> float:
    """Write the merged model and its tokenizer to `folder`; return the drift in nats. Raises UserError, leaving nothing, if it is large."""
    import torch

    from eval.engines import TransformersEngine

    if folder.exists():
        raise UserError(f"{folder} exists already; remove it, or choose another place with --out")
    display.say(f"loading {target.base} and {target.adapter} in 16 bit")
    engine = TransformersEngine(target, load_in_4bit=False, context=None)
    engine.model.to(torch.bfloat16)
    texts, prompts = [], []
    for question in PROMPTS:
        messages = prompt_for(Sample("", question, ""), target.recipe.data.system_prompt if target.recipe else None)
        texts.append(engine.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    prompts = engine.tokenizer(texts, add_special_tokens=False)["input_ids"]
    written = engine.generate(prompts, Sampling(COMPLETION_LENGTH, batch_size=1))
    completions = {index: completion.text for batch in written for index, completion in batch.items()}
    sequences = [
        (prompt, engine.tokenizer(completions[index], add_special_tokens=False)["input_ids"]) for index, prompt in enumerate(prompts)
    ]
    before = [logprobs(engine.model, *sequence) for sequence in sequences]
    engine.model.merge_and_unload().save_pretrained(folder)
    engine.tokenizer.save_pretrained(folder)
    make_readable(folder)
    merged = TransformersEngine(Target(str(folder), None, None, folder), load_in_4bit=False, context=None)
    after = [logprobs(merged.model, *sequence) for sequence in sequences]
    drift = float(torch.cat([(a - b).abs() for a, b in zip(after, before, strict=True)]).mean())
    if not drift <= LARGEST_DRIFT:
        shutil.rmtree(folder)
        raise UserError(
            f"the merged model drifts from base and adapter by {drift:.3f} nats a token, and rounding explains {LARGEST_DRIFT} at most; "
            "nothing was kept"
        )
    return drift


def logprobs(model: Any, prompt: list[int], completion: list[int]) -> Any:
    """The log-probability in nats of each token of a completion after its prompt."""
    import torch

    tokens = torch.tensor([prompt + completion], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=tokens).logits[0, len(prompt) - 1 : -1].float()
    return torch.log_softmax(logits, -1).gather(-1, tokens[0, len(prompt) :, None])[:, 0].cpu()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m onecard.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="a run's folder")
    parser.add_argument("--to", choices=("merged",), required=True, help="merged: one model in 16 bit")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="(default: RUN/merged)")
    args = parser.parse_args(arguments)
    display = Display()
    try:
        target = find_target(args.run, adapter=None, base_only=False)
        if target.adapter is None:
            raise UserError(f"{args.run} has no adapter to merge: it is a model already")
        folder = args.out or Path(args.run) / "merged"
        drift = export_merged(target, folder, display)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    display.say(f"{folder}: {drift:.4f} nats a token from base and adapter. python -m eval {folder} --recipe ... evaluates it")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
