"""How fast does the transformers engine evaluate?

    make bench-eval MODEL=runs/tiny/base-model    (after `make demo`)

Beside it: a loop of one prompt at a time, and lm-evaluation-harness's hf model, which lives in an
environment of its own. The three answer the same prompts greedily with the same weights in one
process, in turn, each after one unmeasured round. What it prints is also written to
docs/evaluation-speed.txt.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from eval.benchmarks import load_benchmark
from onecard.data.prompts import prompt_for, render, tokenize
from onecard.model.engines.transformers import TransformersEngine
from onecard.target import find_target
from onecard.types import Sampling

BATCH_SIZE = 128
MAX_COMPLETION_LENGTH = 48
ROUNDS = 3
PROMPTS = 512
NAIVE_PROMPTS = 64  # one at a time is slow; what counts is tokens a second


def main() -> None:
    target = find_target(sys.argv[1], None, base_only=False)
    engine = TransformersEngine(target.weights, load_in_4bit=False, context=None)
    problems = load_benchmark("tiny", None)[:PROMPTS]
    texts = [render(engine.tokenizer, prompt_for(problem, None)) for problem in problems]
    ids = tokenize(engine.tokenizer, texts)
    harness = HFLM(pretrained=engine.model, tokenizer=engine.tokenizer, batch_size=BATCH_SIZE)

    def ours() -> list[str]:
        batches = engine.generate(ids, Sampling(MAX_COMPLETION_LENGTH, BATCH_SIZE))
        found = {index: completion.text for batch in batches for index, completion in batch.items()}
        return [found[index] for index in range(len(ids))]

    def theirs() -> list[str]:
        settings = {
            "until": ["<|im_end|>"],
            "max_gen_toks": MAX_COMPLETION_LENGTH,
            "do_sample": False,
        }
        asked = [
            Instance(request_type="generate_until", doc={}, arguments=(text, settings), idx=i)
            for i, text in enumerate(texts)
        ]
        answers: list[str] = harness.generate_until(asked, disable_tqdm=True)
        return answers

    def naive() -> list[str]:
        answers = []
        for prompt in ids[:NAIVE_PROMPTS]:
            given = torch.tensor([prompt])
            with torch.inference_mode():
                output = engine.model.generate(
                    given,
                    attention_mask=torch.ones_like(given),
                    max_new_tokens=MAX_COMPLETION_LENGTH,
                    do_sample=False,
                )
            answers.append(
                engine.tokenizer.decode(output[0, len(prompt) :], skip_special_tokens=True)
            )
        return answers

    answers: dict[str, list[str]] = {}
    rates: dict[str, list[float]] = {"ours": [], "lm-eval hf": [], "one at a time": []}
    ways: dict[str, Callable[[], list[str]]] = {
        "ours": ours,
        "lm-eval hf": theirs,
        "one at a time": naive,
    }
    for turn in range(ROUNDS + 1):
        for name, answer in ways.items():
            started = time.perf_counter()
            answers[name] = answer()
            seconds = time.perf_counter() - started
            tokens = sum(
                len(engine.tokenizer(text, add_special_tokens=False)["input_ids"]) + 1
                for text in answers[name]
            )
            if turn:
                rates[name].append(tokens / seconds)
    median = {name: sorted(found)[ROUNDS // 2] for name, found in rates.items()}
    asked = (
        f"{PROMPTS} prompts of the tiny benchmark, greedy, batches of {BATCH_SIZE},"
        f" {torch.get_num_threads()} CPU threads"
    )
    lines = [f"{asked}; median of {ROUNDS}"]
    for name, found in rates.items():
        same = sum(a == b for a, b in zip(answers["ours"], answers[name], strict=False))
        spread = f"{min(found):,.0f} to {max(found):,.0f}"
        lines.append(
            f"{name:<14} {median[name]:>8,.0f} tokens/s ({spread}), {same} of {len(answers[name])}"
            " completions as ours"
        )
    lines.append(f"ours / one at a time: {median['ours'] / median['one at a time']:.1f}")
    lines.append(f"ours / lm-eval hf:    {median['ours'] / median['lm-eval hf']:.2f}")
    print("\n".join(lines))
    (Path(__file__).parent.parent / "docs/evaluation-speed.txt").write_text(
        "\n".join(lines) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
