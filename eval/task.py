"""A task: a benchmark, and how it is put to a model. The model apart, it decides a result."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.benchmarks import BENCHMARKS, load_benchmark, load_exemplars
from onecard.data.prompts import prompt_for, render
from onecard.data.source import Source
from onecard.types import FOLDER_NAME, Problem, Sampling, UserError
from rewards.answer.section import AnswerFormat

# lm-evaluation-harness's gsm8k task: generation_kwargs.until.
PLAIN_COLUMNS = {"id", "question", "answer"}
FEW_SHOT_STOP = ("Question:", "</s>", "<|im_end|>")


@dataclass(frozen=True)
class Task:
    """Zero-shot or few-shot.

    Zero-shot is through the chat template with `system_prompt`. With `exemplars` it is few-shot, as
    plain text without either.
    """

    benchmark: str
    version: int
    problems: tuple[Problem, ...]
    system_prompt: str | None
    exemplars: tuple[Problem, ...]
    answer_format: AnswerFormat
    sampling: Sampling
    score: str | None = None  # a reward that scores the completions too

    def prompt(self, problem: Problem, tokenizer: Any) -> str:
        """The text that the model continues.

        Few-shot prompts have the format of lm-evaluation-harness's gsm8k task.
        """
        if not self.exemplars:
            return render(tokenizer, prompt_for(problem, self.system_prompt))
        shown = [solved(exemplar) for exemplar in self.exemplars]
        return "\n\n".join([*shown, f"Question: {problem.question}\nAnswer:"])

    @property
    def is_plain_text(self) -> bool:
        """Whether it is put without the chat template."""
        return bool(self.exemplars) or isinstance(self.problems[0].prompt, str)

    @property
    def answer_kind(self) -> str | None:
        """What the golds are, where they are not numbers; None for numbers."""
        kind = self.problems[0].kind
        return None if kind == "number" else kind

    def settings(self) -> dict[str, Any]:
        """As result.json keeps it. eval/scores.py says what two results must have in common."""
        return {
            "benchmark": {"name": self.benchmark, "version": self.version, **digest(self.problems)},
            "prompt": {"system_prompt": self.system_prompt, "exemplars": digest(self.exemplars)},
            "answer_format": self.answer_format,
            "answer_kind": self.answer_kind,
            "score": self.score,
            "sampling": asdict(self.sampling) | {"stop": list(self.sampling.stop)},
        }


def solved(exemplar: Problem) -> str:
    """A problem with its solution, as few-shot prompts show it."""
    answer = f"Answer: {exemplar.solution}" if exemplar.solution else "Answer:"
    return f"Question: {exemplar.question}\n{answer}\n#### {exemplar.gold}"


def digest(problems: Sequence[Problem]) -> dict[str, Any]:
    """How many, and a hash of their ids, questions, golds, solutions and further columns.

    It tells whether two results are about the same rows.
    """
    text = "\0".join(f"{p.id}\0{p.question}\0{p.solution}\0{p.gold}{further(p)}" for p in problems)
    return {
        "count": len(problems),
        "sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
    }


def further(problem: Problem) -> str:
    """What a row has besides; "" where it has nothing, as in all known sets."""
    columns = {name: problem.columns[name] for name in problem.columns.keys() - PLAIN_COLUMNS}
    if not columns and problem.prompt is None:
        return ""
    return "\0" + json.dumps([problem.prompt, columns], sort_keys=True, default=str)


def load_task(
    benchmark: str,
    own: Source | None,
    sampling: Sampling,
    *,
    system_prompt: str | None,
    answer_format: AnswerFormat,
    score: str | None = None,
    shots: int = 0,
    limit: int | None = None,
    root: Path | None = None,
) -> Task:
    """A benchmark's first `limit` problems and, for few-shot, its exemplars.

    Exemplars show the answer after ####.
    """
    name, version = Path(benchmark).name.removesuffix(".jsonl"), 1
    if benchmark not in BENCHMARKS and (name in BENCHMARKS or not re.match(FOLDER_NAME, name)):
        raise UserError(
            f"{benchmark}: its results would be called {name!r}; give the file a plain name that is"
            " no benchmark's"
        )
    problems = load_benchmark(benchmark, own, root)
    if benchmark in BENCHMARKS:
        known = BENCHMARKS[benchmark]
        version = known.version
        if not digest(problems)["sha256"].startswith(known.sha256):
            # As many, but not those that are known by this name: no result may pass for theirs.
            name = f"{name}-other-rows"
    asked = tuple(problems[:limit])
    if shots:
        exemplars = tuple(load_exemplars(benchmark, own, shots, root))
        return Task(name, version, asked, None, exemplars, "hash", sampling, score)
    return Task(name, version, asked, system_prompt, (), answer_format, sampling, score)
