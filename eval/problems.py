"""The problems of a run: trained on, and asked before, during and after. None is in both."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from eval.section import Eval
from eval.task import Task, digest, load_task
from onecard.data.pairs import Pair, load_pairs
from onecard.data.sameness import by_words, check_rows, check_unseen
from onecard.data.section import Data
from onecard.data.source import Source
from onecard.types import Problem, Sampling, UserError
from rewards.answer.section import Answer


@dataclass(frozen=True)
class Problems:
    """What a run trains on, and what it is asked.

    `benchmarks` are put to the policy before and after training; `dev`, where the recipe wants it,
    before step 1 and during.
    """

    train: tuple[Problem, ...]
    benchmarks: tuple[Task, ...]
    dev: Task | None
    pairs: Mapping[str, tuple[Pair, ...]] = field(default_factory=dict)  # that a stage trains on
    told: tuple[str, ...] = ()  # what a person should know of the rows

    def trained_on(self) -> dict[str, Any]:
        """A hash of the training problems, and of the pairs where there are some."""
        found = digest(self.train)
        for stage, pairs in self.pairs.items():
            sides = [replace(p.problem, gold=p.chosen, solution=p.rejected) for p in pairs]
            found[f"{stage}.pairs"] = digest(sides)
        return found


def load_problems(
    source: Source,
    asked: Eval,
    answer: Answer,
    data: Data,
    pair_files: Mapping[str, str] = MappingProxyType({}),
) -> Problems:
    """All that a recipe names. `pair_files` have pairs of completions, each for a stage.

    Raises UserError for data that is not there or not right, and for benchmarks that would be
    trained on.
    """

    def load(benchmark: str, limit: int | None) -> Task:
        """A benchmark as a run is asked it: zero-shot and greedy."""
        return load_task(
            benchmark,
            source,
            Sampling(asked.max_completion_length, asked.batch_size),
            system_prompt=data.system_prompt,
            answer_format=answer.format,
            score=asked.score,
            limit=limit,
        )

    train = source.load("train")
    benchmarks = tuple(load(name, asked.limit) for name in asked.benchmarks)
    dev = load(source.dev_benchmark, asked.dev_problems) if asked.every_steps else None
    check_lines(train, answer)
    told = check_rows(train, data.accept)
    pairs = {stage: tuple(load_pairs(stage, file)) for stage, file in pair_files.items()}
    paired = [pair.problem for of_stage in pairs.values() for pair in of_stage]
    trained = by_words([*train, *paired])
    for task in (*benchmarks, *([dev] if dev else [])):
        told += check_unseen(trained, task.problems, task.benchmark, data.accept)
    if data.system_prompt and isinstance(train[0].prompt, str):
        told.append("data.system_prompt is not used: the prompts are plain text, and not chat")
    if answer.kind is None and source.kind is None:
        told.insert(0, f"right answers are read as answer.kind: {train[0].kind}")
    return Problems(tuple(train), benchmarks, dev, pairs, tuple(told))


def check_lines(problems: list[Problem], answer: Answer) -> None:
    """Raise UserError for a right answer of several lines where one of one line is read."""
    several = next((problem for problem in problems if "\n" in problem.gold), None)
    if several is not None and answer.format == "hash":
        raise UserError(
            f"answer.format: the right answer of problem {several.id} has several lines, and `hash`"
            " reads one; `answer.format: answer` reads them all"
        )
