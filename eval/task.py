"""A task: a benchmark and how it is put to a model. All that decides a result, besides the
model.
"""

import hashlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.benchmarks import BENCHMARKS, load_benchmark, load_exemplars
from onecard.data.prompts import prompt_for, render
from onecard.data.samples import Source
from onecard.types import FOLDER_NAME, Sample, Sampling, UserError
from rewards.answer import AnswerFormat

FEW_SHOT_STOP = (
    "Question:",
    "</s>",
    "<|im_end|>",
)  # lm-evaluation-harness's gsm8k task: generation_kwargs.until


@dataclass(frozen=True)
class Task:
    """Zero-shot through the chat template with `system_prompt`, or, with `exemplars`, few-shot as
    plain text without either.
    """

    benchmark: str
    version: int
    problems: tuple[Sample, ...]
    system_prompt: str | None
    exemplars: tuple[Sample, ...]
    answer_format: AnswerFormat
    sampling: Sampling

    def prompt(self, problem: Sample, tokenizer: Any) -> str:
        """The text that the model continues. Few-shot prompts have the format of
        lm-evaluation-harness's gsm8k task.
        """
        if self.exemplars:
            shown = [
                "\n".join(
                    [
                        f"Question: {e.question}",
                        " ".join(["Answer:", *([e.solution] if e.solution else [])]),
                        f"#### {e.gold}",
                    ]
                )
                for e in self.exemplars
            ]
            return "\n\n".join([*shown, f"Question: {problem.question}\nAnswer:"])
        return render(tokenizer, prompt_for(problem, self.system_prompt))

    def facts(self) -> dict[str, Any]:
        """As result.json keeps it; check_comparable says which of it must be equal for two results
        to be compared.
        """
        return {
            "benchmark": {"name": self.benchmark, "version": self.version, **digest(self.problems)},
            "prompt": {"system_prompt": self.system_prompt, "exemplars": digest(self.exemplars)},
            "answer_format": self.answer_format,
            "sampling": asdict(self.sampling) | {"stop": list(self.sampling.stop)},
        }


def digest(samples: tuple[Sample, ...]) -> dict[str, Any]:
    """How many, and a hash of their ids, questions, golds and worked solutions: whether two results
    are about the same rows.
    """
    text = "\0".join(f"{s.id}\0{s.question}\0{s.solution}\0{s.gold}" for s in samples)
    return {
        "count": len(samples),
        "sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
    }


def load_task(
    benchmark: str,
    own: Source | None,
    sampling: Sampling,
    *,
    system_prompt: str | None,
    answer_format: AnswerFormat,
    shots: int = 0,
    limit: int | None = None,
    root: Path | None = None,
) -> Task:
    """Read a benchmark's first `limit` problems and, for few-shot, its exemplars, which show the
    answer after ####.
    """
    problems = load_benchmark(benchmark, own, root)
    name, version = Path(benchmark).name.removesuffix(".jsonl"), 1
    if benchmark in BENCHMARKS:
        version = BENCHMARKS[benchmark].version
        if not digest(tuple(problems))["sha256"].startswith(BENCHMARKS[benchmark].sha256):
            # as many, but not those that are known by this name: no result may pass for one of
            # those
            name = f"{name}-other-rows"
    elif name in BENCHMARKS or not re.match(FOLDER_NAME, name):
        raise UserError(
            f"{benchmark}: its results would be called {name!r}; give the file a plain name that is"
            " no benchmark's"
        )
    asked = tuple(problems[:limit])
    if shots:
        return Task(
            name,
            version,
            asked,
            None,
            tuple(load_exemplars(benchmark, own, shots, root)),
            "hash",
            sampling,
        )
    return Task(name, version, asked, system_prompt, (), answer_format, sampling)
