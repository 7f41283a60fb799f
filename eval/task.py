"""A task: a benchmark and how it is put to a model. All that decides a result, besides the model."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.benchmarks import BENCHMARKS, load_benchmark, load_exemplars
from onecard.samples import Source, prompt_for
from onecard.types import Sample, Sampling, UserError
from rewards.answer import AnswerFormat

if TYPE_CHECKING:
    from onecard.recipe import Recipe

FEW_SHOT_STOP = ("Question:", "</s>", "<|im_end|>")  # lm-evaluation-harness's gsm8k task: generation_kwargs.until


@dataclass(frozen=True)
class Task:
    """Zero-shot through the chat template with `system_prompt`, or, with `exemplars`, few-shot as plain text without either."""

    benchmark: str
    version: int
    problems: tuple[Sample, ...]
    system_prompt: str | None
    exemplars: tuple[Sample, ...]
    answer_format: AnswerFormat
    sampling: Sampling

    def prompt(self, problem: Sample, tokenizer: Any) -> str:
        """The text that the model continues. Few-shot prompts are written as lm-evaluation-harness's gsm8k task writes them."""
        if self.exemplars:
            shown = [f"Question: {e.question}\nAnswer: {e.solution}\n#### {e.gold}".replace(" \n", "\n") for e in self.exemplars]
            return "\n\n".join([*shown, f"Question: {problem.question}\nAnswer:"])
        if tokenizer.chat_template is None:
            raise UserError("this model has no chat template, so it cannot be asked zero-shot; --shots 8 asks it in plain text")
        messages = prompt_for(problem, self.system_prompt)
        text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return text

    def facts(self) -> dict[str, Any]:
        """As result.json keeps it: what must be equal for two results to be compared."""
        return {
            "benchmark": {"name": self.benchmark, "version": self.version, **digest(self.problems)},
            "prompt": {"system_prompt": self.system_prompt, "exemplars": digest(self.exemplars)},
            "answer_format": self.answer_format,
            "sampling": asdict(self.sampling) | {"stop": list(self.sampling.stop)},
        }


def digest(samples: tuple[Sample, ...]) -> dict[str, Any]:
    """How many, and a hash of their questions and golds: whether two results are about the same rows."""
    text = "\0".join(f"{s.id}\0{s.question}\0{s.solution}\0{s.gold}" for s in samples)
    return {"count": len(samples), "sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()}


def load_task(
    benchmark: str,
    own: Source | None,
    sampling: Sampling,
    *,
    system_prompt: str | None,
    answer_format: AnswerFormat,
    shots: int,
    limit: int | None,
) -> Task:
    """Read a benchmark's problems and, for few-shot, its exemplars, which show the answer after ####."""
    version = BENCHMARKS[benchmark].version if benchmark in BENCHMARKS else 1
    problems = tuple(load_benchmark(benchmark, own, limit))
    exemplars = tuple(load_exemplars(benchmark, own, shots))
    name = Path(benchmark).name.removesuffix(".jsonl")
    if shots:
        return Task(name, version, problems, None, exemplars, "hash", sampling)
    return Task(name, version, problems, system_prompt, (), answer_format, sampling)


def recipe_task(recipe: "Recipe", benchmark: str, limit: int | None) -> Task:
    """A benchmark as a recipe's run is asked it, before, during and after training: zero-shot and greedy."""
    sampling = Sampling(recipe.eval.max_completion_length, recipe.eval.batch_size)
    return load_task(
        benchmark,
        recipe.data.source,
        sampling,
        system_prompt=recipe.data.system_prompt,
        answer_format=recipe.answer_format,
        shots=0,
        limit=limit,
    )
