"""Put a task to an engine and grade what it says.

The same code for a run's before and after, and for `python -m eval`.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from eval.benchmarks import flexible, same_answer, strict
from eval.record import Record, open_record, read_result
from eval.scores import scores
from eval.task import Task
from onecard.console.display import Display
from onecard.data.prompts import prompt_for, tokenize
from onecard.model.engines.protocol import Engine
from onecard.types import Completion, EvalItem, EvalResult, Problem, Rollout, UserError
from rewards.answer import AnswerFormat, grade
from rewards.deadline import THREADS
from rewards.scoring import BatchScorer


@dataclass(frozen=True)
class Prompts:
    """A task as an engine reads it: a prompt for each completion, problem by problem.

    `too_long`: the places of those that leave no room for a whole completion. They are not asked,
    and count as wrong.
    """

    texts: list[str]
    tokens: list[list[int]]
    too_long: list[int]

    @property
    def asked(self) -> list[int]:
        """The places of those that are asked."""
        return sorted(set(range(len(self.tokens))) - set(self.too_long))


def evaluate(
    engine: Engine,
    task: Task,
    folder: Path,
    display: Display,
    label: str,
    again: bool = False,
    scorer: BatchScorer | None = None,
) -> EvalResult:
    """The engine's answers to every problem, graded and kept in `folder`.

    What an interrupted evaluation left there is not made again; with `again` it is. `scorer` has
    the reward that the task names for its score, if it names one.
    """
    prompts = read_prompts(engine, task, label)
    settings = task.settings() | {
        "first_prompt": prompts.texts[0],
        "model": engine.description(),
    }
    record = open_record(folder, settings, again)
    if (folder / "result.json").is_file():
        display.say(f"{label}: evaluated already, nothing is asked again")
        return read_result(folder)[1]
    for place, item in record.items.items():
        if not 0 <= place < len(prompts.texts) or item.prompt != prompts.texts[place]:
            raise UserError(
                f"{folder} holds rows of another evaluation; --again replaces it, --out puts this"
                " one elsewhere"
            )
    if prompts.too_long:
        display.say(too_long_text(engine, task, label, prompts))
        unasked = {
            place: Completion("", 0, truncated=True)
            for place in prompts.too_long
            if place not in record.items
        }
        record.add(graded(task, prompts, unasked))
    speed = ask(engine, task, prompts, record, display, label)
    if task.score is not None:
        assert scorer is not None
        score_items(engine, task, record, scorer)
    record.finish({"scores": scores(record.result), "speed": speed})
    return record.result


def read_prompts(engine: Engine, task: Task, label: str) -> Prompts:
    """The task's prompts. Raises UserError where not one of them fits."""
    texts = [
        task.prompt(problem, engine.tokenizer)
        for problem in task.problems
        for _ in range(task.sampling.samples)
    ]
    tokens = tokenize(engine.tokenizer, texts, special_tokens=task.is_plain_text)
    room = engine.context - task.sampling.max_completion_length
    too_long = [place for place, prompt in enumerate(tokens) if len(prompt) > room]
    if len(too_long) == len(tokens):
        remedy = " or --shots" if task.exemplars else ""
        raise UserError(
            f"{label}: not one prompt fits: the shortest has {min(map(len, tokens)):,} tokens, and"
            f" with {task.sampling.max_completion_length:,} for the completion that is more than"
            f" the {engine.context:,} that the model takes; lower --max-completion-length{remedy}"
        )
    return Prompts(texts, tokens, too_long)


def too_long_text(engine: Engine, task: Task, label: str, prompts: Prompts) -> str:
    longest = max(len(prompts.tokens[place]) for place in prompts.too_long)
    return (
        f"{label}: {len(prompts.too_long):,} of {len(prompts.tokens):,} prompts are not asked and"
        f" count as wrong: with up to {longest:,} tokens and"
        f" {task.sampling.max_completion_length:,} for the completion they are longer than the"
        f" {engine.context:,} that the model takes"
    )


def ask(
    engine: Engine, task: Task, prompts: Prompts, record: Record, display: Display, label: str
) -> dict[str, float]:
    """Fill the record with what is not in it yet; how fast that went, for result.json."""
    asked = prompts.asked
    kept = len(record.items) - len(prompts.too_long)
    if kept:
        display.say(f"{label}: continued, {kept:,} of {len(asked):,} completions are there already")
    started, tokens = time.monotonic(), 0
    done = {index for index, place in enumerate(asked) if place in record.items}
    with display.phase(label, len(asked), unit="completion", begun=kept) as advance:
        todo = [prompts.tokens[place] for place in asked]
        for completions in engine.generate(todo, task.sampling, done):
            by_place = {asked[index]: completion for index, completion in completions.items()}
            record.add(graded(task, prompts, by_place))
            tokens += sum(completion.tokens for completion in completions.values())
            seconds = time.monotonic() - started
            finished = len(record.items) - len(prompts.too_long)
            advance(finished, **{"tokens/s": tokens / seconds})
    seconds = round(time.monotonic() - started, 2)
    return {"seconds": seconds, "tokens": tokens, "completions_kept": kept}


def score_items(engine: Engine, task: Task, record: Record, scorer: BatchScorer) -> None:
    """Add the task's score to every item, some whole groups at a time: each has its deadline."""
    assert task.score is not None
    rollouts = rollouts_of(engine, task, record)
    samples = task.sampling.samples
    at_once = max(1, task.sampling.batch_size // samples) * samples
    for first in range(0, len(rollouts), at_once):
        values = scorer.values_of(task.score, rollouts[first : first + at_once])
        for place, value in enumerate(values, start=first):
            record.items[place] = replace(record.items[place], score=value)


def rollouts_of(engine: Engine, task: Task, record: Record) -> list[Rollout]:
    """The completions of a finished evaluation, as rewards see them; groups are whole."""
    samples = task.sampling.samples
    found = []
    for place in sorted(record.items):
        item, problem = record.items[place], task.problems[place // samples]
        prompt = item.prompt if task.is_plain_text else prompt_for(problem, task.system_prompt)
        found.append(
            Rollout(
                problem,
                item.completion,
                item.tokens,
                item.truncated,
                think_opened=item.prompt.rstrip().endswith("<think>"),
                place=place,
                group=place // samples,
                prompt=prompt,
                ids=tuple(tokenize(engine.tokenizer, [item.completion])[0]),
            )
        )
    return found


def graded(task: Task, prompts: Prompts, completions: dict[int, Completion]) -> dict[int, EvalItem]:
    """Completions by their place in the whole, as items."""
    samples = task.sampling.samples

    def item_at(place: int) -> EvalItem:
        problem, prompt = task.problems[place // samples], prompts.texts[place]
        sample, completion = place % samples, completions[place]
        return grade_item(problem, sample, prompt, completion, task.answer_format)

    with ThreadPoolExecutor(THREADS) as threads:  # programs are waited for
        return dict(zip(completions, threads.map(item_at, completions), strict=True))


def grade_item(
    problem: Problem, sample: int, prompt: str, completion: Completion, answer_format: AnswerFormat
) -> EvalItem:
    score = grade(
        completion.text,
        problem.gold,
        answer_format,
        completion.truncated,
        problem.kind,
        problem.columns,
    )
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
