"""Put a task to an engine and grade what it says: the same code for a run's before and after and
for `python -m eval`.
"""

import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Protocol

from eval.benchmarks import flexible, same_answer, strict
from eval.record import open_record, read_result
from eval.results import scores
from eval.task import Task
from onecard.console.display import Display
from onecard.data.prompts import tokenize
from onecard.types import Completion, EvalItem, EvalResult, Sample, Sampling, UserError
from rewards.answer import AnswerFormat, grade


class Engine(Protocol):
    """What generates: the policy in training, a transformers model, or vLLM standing alone."""

    @property
    def tokenizer(self) -> Any: ...

    @property
    def context(self) -> int:
        """The longest sequence, prompt and completion, in tokens."""

    def facts(self) -> dict[str, Any]:
        """What answered, as result.json keeps it."""

    def generate(
        self, prompts: list[list[int]], sampling: Sampling, done: Collection[int] = ()
    ) -> Iterator[dict[int, Completion]]:
        """Completions of tokenized prompts, as they are finished, by the prompt's index; those of
        `done` need not be made.
        """


def evaluate(
    engine: Engine, task: Task, folder: Path, display: Display, label: str, again: bool = False
) -> EvalResult:
    """The engine's answers to every problem, graded and kept in `folder`; what an interrupted
    evaluation left there is not made again.

    With `again` it is. A prompt that leaves no room for a whole completion is not asked: it counts
    as wrong, and is told.
    """
    samples = task.sampling.samples
    texts = [
        task.prompt(problem, engine.tokenizer) for problem in task.problems for _ in range(samples)
    ]
    prompts = tokenize(engine.tokenizer, texts, special_tokens=bool(task.exemplars))
    room = engine.context - task.sampling.max_completion_length
    too_long = [place for place, prompt in enumerate(prompts) if len(prompt) > room]
    if len(too_long) == len(prompts):
        shortest = min(map(len, prompts))
        raise UserError(
            f"{label}: not one prompt fits: the shortest has {shortest:,} tokens, and with"
            f" {task.sampling.max_completion_length:,} for the completion that is more than the"
            f" {engine.context:,} that the model takes; lower"
            f" --max-completion-length{' or --shots' if task.exemplars else ''}"
        )
    record = open_record(
        folder, task.facts() | {"first_prompt": texts[0], "model": engine.facts()}, again
    )
    if (folder / "result.json").is_file():
        display.say(f"{label}: evaluated already, nothing is asked again")
        return read_result(folder)[1]

    if any(
        not 0 <= place < len(prompts) or item.prompt != texts[place]
        for place, item in record.items.items()
    ):
        raise UserError(
            f"{folder} holds rows of another evaluation; --again replaces it, --out puts this one"
            " elsewhere"
        )

    def graded(completions: dict[int, Completion]) -> dict[int, EvalItem]:
        return {
            place: grade_item(
                task.problems[place // samples],
                place % samples,
                texts[place],
                completion,
                task.answer_format,
            )
            for place, completion in completions.items()
        }

    if too_long:
        display.say(
            f"{label}: {len(too_long):,} of {len(prompts):,} prompts are not asked and count as"
            f" wrong: with up to {max(len(prompts[place]) for place in too_long):,} tokens and"
            f" {task.sampling.max_completion_length:,} for the completion they are longer than the"
            f" {engine.context:,} that the model takes"
        )
        record.add(
            graded(
                {
                    place: Completion("", 0, truncated=True)
                    for place in too_long
                    if place not in record.items
                }
            )
        )
    asked = sorted(set(range(len(prompts))) - set(too_long))
    kept = len(record.items) - len(too_long)
    if kept:
        display.say(f"{label}: continued, {kept:,} of {len(asked):,} completions are there already")
    started, tokens = time.monotonic(), 0
    with display.phase(label, len(asked), unit="completion", begun=kept) as tick:
        done = {index for index, place in enumerate(asked) if place in record.items}
        for completions in engine.generate(
            [prompts[place] for place in asked], task.sampling, done
        ):
            record.add(
                graded({asked[index]: completion for index, completion in completions.items()})
            )
            tokens += sum(completion.tokens for completion in completions.values())
            seconds = time.monotonic() - started
            tick(len(record.items) - len(too_long), **{"tokens/s": tokens / seconds})
    seconds = time.monotonic() - started
    speed = {"seconds": round(seconds, 2), "tokens": tokens, "completions_kept": kept}
    record.finish({"scores": scores(record.result), "speed": speed})
    return record.result


def grade_item(
    problem: Sample, sample: int, prompt: str, completion: Completion, answer_format: AnswerFormat
) -> EvalItem:
    score = grade(completion.text, problem.gold, answer_format, completion.truncated)
    assert score.verdict is not None
    return EvalItem(
        id=problem.id,
        sample=sample,
        question=problem.question,
        prompt=prompt,
        gold=problem.gold,
        completion=completion.text,
        tokens=completion.tokens,
        truncated=completion.truncated,
        extracted=score.extracted,
        verdict=score.verdict,
        strict=same_answer(strict(completion.text), problem.gold),
        flexible=same_answer(flexible(completion.text), problem.gold),
        equations=completion.text.count("="),
    )
