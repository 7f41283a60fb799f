"""Before step 1: a few training problems, answered as training will have them answered. Is there
anything to learn from?

GRPO learns from the differences between the completions of one prompt. Where all of them are paid
alike, it learns nothing.
"""

import json
import random
import time
from statistics import mean, quantiles
from typing import Any

from onecard.batch import pass_at_g, share_of_unequal
from onecard.console.display import Display
from onecard.data.prompts import prompt_for, render, tokenize
from onecard.files.formats import write_json
from onecard.grading import BatchScorer, opens_think
from onecard.policy import Policy
from onecard.recipe import Recipe
from onecard.runs import Run
from onecard.types import Completion, Rollout, RunFailed, Sample, Sampling, Verdict
from rewards import expand
from rewards.answer import grade
from rewards.base import weighted_sum

FEW_SIGNALS = (
    0.2  # assumed: below this share of groups four fifths of the generation is for nothing
)
MANY_CUT = 0.3  # as onecard/health.py warns of it


def run_pilot(
    recipe: Recipe, policy: Policy, samples: list[Sample], run: Run, display: Display
) -> None:
    """Answer `recipe.pilot` problems, num_generations times each; write pilot.json, and tell it.

    Raises RunFailed where no group has a signal. What an interrupted run found is not asked again,
    and refuses again.
    """
    if not recipe.pilot:
        return
    if not run.pilot.is_file():
        write_json(run.pilot, ask(recipe, policy, samples, display))
    facts = json.loads(run.pilot.read_text(encoding="utf-8"))
    display.say(
        f"pilot: {facts['prompts']} problems, {facts['num_generations']} completions each:"
        f" {facts['pass_rate']:.0%} are right, {facts['pass_at_g']:.0%} of the problems at least"
        f" once; {facts['signal_share']:.0%} of the groups have a signal; {facts['truncated']:.0%}"
        " are cut at the limit"
    )
    for line in facts["advice"]:
        display.say(f"pilot: {line}")
    if not facts["signal_share"]:
        raise RunFailed(
            f"pilot: for each of {facts['prompts']} problems all completions got the same reward,"
            " so there is nothing to learn from; `--resume-anyway --set pilot=0` trains"
            " nevertheless"
        )


def ask(recipe: Recipe, policy: Policy, samples: list[Sample], display: Display) -> dict[str, Any]:
    chosen = random.Random(recipe.seed).sample(samples, min(recipe.pilot, len(samples)))
    rollouts, seconds = roll_out(recipe, policy, chosen, display)
    weights = [reward.weight for reward in expand(recipe.rewards)]
    scorer = BatchScorer(recipe, chosen, policy.end_tokens, rollouts[0].think_opened)
    totals = [weighted_sum(weights, row) for row in scorer.score(rollouts)]
    verdicts = [
        grade(r.text, r.sample.gold, recipe.answer_format, r.truncated).verdict for r in rollouts
    ]
    return summarize(
        recipe, rollouts, totals, [verdict == Verdict.CORRECT for verdict in verdicts], seconds
    )


def roll_out(
    recipe: Recipe, policy: Policy, chosen: list[Sample], display: Display
) -> tuple[list[Rollout], float]:
    """num_generations completions of each problem, problem by problem, sampled as in training; and
    the seconds that took.
    """
    grpo, tokenizer = recipe.grpo, policy.tokenizer
    asked = [sample for sample in chosen for _ in range(grpo.num_generations)]
    prompts = tokenize(
        tokenizer,
        [render(tokenizer, prompt_for(sample, recipe.data.system_prompt)) for sample in asked],
    )
    sampling = Sampling(
        grpo.max_completion_length,
        grpo.completions_per_step,
        temperature=grpo.temperature,
        seed=recipe.seed,
    )
    started = time.monotonic()
    found: dict[int, Completion] = {}
    with display.phase("pilot", len(asked), unit="completion") as tick:
        for completions in policy.generate(prompts, sampling):
            found |= completions
            tick(len(found))
    opened = opens_think(recipe, tokenizer)
    rollouts = [
        Rollout(
            sample, found[place].text, found[place].tokens, found[place].truncated, opened, place
        )
        for place, sample in enumerate(asked)
    ]
    return rollouts, time.monotonic() - started


def summarize(
    recipe: Recipe, rollouts: list[Rollout], totals: list[float], right: list[bool], seconds: float
) -> dict[str, Any]:
    """pilot.json: shares in [0, 1], lengths in tokens, and advice where a number is out of the
    ordinary.
    """
    size = recipe.grpo.num_generations
    lengths = [rollout.tokens for rollout in rollouts]
    tenths = quantiles(lengths, n=10, method="inclusive")
    facts = {
        "prompts": len(rollouts) // size,
        "num_generations": size,
        "pass_rate": mean(right),
        "pass_at_g": pass_at_g(right, size),
        "signal_share": share_of_unequal(totals, size),
        "reward": mean(totals),
        "truncated": mean(rollout.truncated for rollout in rollouts),
        "tokens": {"p10": tenths[0], "p50": tenths[4], "p90": tenths[8], "max": max(lengths)},
        "seconds": round(seconds, 2),
        "generation_seconds_per_step": round(
            seconds * recipe.grpo.completions_per_step / len(rollouts), 2
        ),
    }
    return facts | {"advice": advice(facts, recipe.grpo.max_completion_length)}


def advice(facts: dict[str, Any], limit: int) -> list[str]:
    """What is out of the ordinary, with the number, and what to do; [] where nothing is."""
    found = []
    if facts["pass_rate"] == 0:
        found.append(
            "No completion is right: the problems are too hard, or the answers are not in the form"
            " that is read. A warm-up helps."
        )
    elif facts["pass_rate"] > 0.95:
        found.append(
            f"{facts['pass_rate']:.0%} of the completions are right: the problems are too easy to"
            " learn much from."
        )
    if facts["signal_share"] < FEW_SIGNALS:
        found.append(
            f"{facts['signal_share']:.0%} of the groups have a signal: other problems, or a larger"
            " grpo.num_generations."
        )
    if facts["truncated"] > MANY_CUT:
        found.append(
            f"{facts['truncated']:.0%} of the completions are cut at {limit} tokens: a larger"
            " grpo.max_completion_length."
        )
    return found
