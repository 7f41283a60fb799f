"""Put a policy to a benchmark and grade what it says: the same code before and after training."""

from dataclasses import asdict

from eval.benchmarks import flexible, same_answer, strict
from onecard.display import Display
from onecard.policy import Policy
from onecard.recipe import Recipe
from onecard.runs import Run, write_jsonl
from onecard.samples import prompt_for
from onecard.types import Completion, EvalItem, EvalResult, Sample
from rewards.answer import AnswerFormat, grade


def evaluate(policy: Policy, benchmark: str, samples: list[Sample], when: str, recipe: Recipe, run: Run, display: Display) -> EvalResult:
    """Greedy answers to every problem of `samples`, graded; each one is written to items/<benchmark>-<when>.jsonl."""
    with display.phase(f"{benchmark} {when}", len(samples), unit="problem") as tick:
        prompts = [prompt_for(sample, recipe.data) for sample in samples]
        completions = policy.generate(prompts, recipe.eval.max_completion_length, recipe.eval.batch_size, on_batch=tick)
    items = tuple(grade_item(sample, completion, recipe.answer_format) for sample, completion in zip(samples, completions, strict=True))
    write_jsonl(run.folder / "items" / f"{benchmark}-{when}.jsonl", map(asdict, items))
    return EvalResult(benchmark, when, items)


def grade_item(sample: Sample, completion: Completion, answer_format: AnswerFormat) -> EvalItem:
    score = grade(completion.text, sample.gold, answer_format, completion.truncated)
    assert score.verdict is not None
    return EvalItem(
        id=sample.id,
        question=sample.question,
        gold=sample.gold,
        completion=completion.text,
        tokens=completion.tokens,
        extracted=score.extracted,
        verdict=score.verdict,
        strict=same_answer(strict(completion.text), sample.gold),
        flexible=same_answer(flexible(completion.text), sample.gold),
        equations=completion.text.count("="),
    )
