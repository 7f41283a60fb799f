"""Before step 1: a few training problems, answered as training will have them answered.

GRPO learns from the differences between the completions of one prompt. Where all of them are paid
alike, it learns nothing.
"""

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, quantiles
from typing import Any

from onecard.console.display import Display
from onecard.files.formats import write_json
from onecard.model.engines.protocol import Engine
from onecard.model.rollouts import roll_out
from onecard.run.folder import Run
from onecard.run.process import is_first
from onecard.types import Problem, RunFailed, Sampling, Verdict
from onecard.watch.batch import outcomes, pass_at_g, share_of, signal_share
from rewards.scoring import BatchScorer, Scored

FEW_SIGNALS = 0.2  # assumed: below this share of groups most of the generation is for nothing
MANY_CUT = 0.3  # as health.clipped_ratio warns of it
TOO_EASY = 0.95  # share of right completions; assumed


@dataclass(frozen=True)
class Pilot:
    """How training draws its completions: what the pilot needs to know of a recipe."""

    problems: int  # how many are answered; 0: there is no pilot
    num_generations: int
    completions_per_step: int
    max_completion_length: int
    temperature: float
    system_prompt: str | None
    seed: int


def run_pilot(
    pilot: Pilot,
    engine: Engine,
    problems: Sequence[Problem],
    scorer: BatchScorer,
    run: Run,
    display: Display,
) -> None:
    """Answer some problems, num_generations times each; write pilot.json, and tell it.

    Raises RunFailed where no group has a signal. What an interrupted run found is not asked again,
    and refuses again.
    """
    if not pilot.problems:
        return
    if run.pilot.is_file():
        found = json.loads(run.pilot.read_text(encoding="utf-8"))
    else:
        found = ask(pilot, engine, problems, scorer, display)
        if is_first():
            write_json(run.pilot, found)
    display.say(
        f"pilot: {found['prompts']} problems, {found['num_generations']} completions each:"
        f" {found['pass_rate']:.0%} are right, {found['pass_at_g']:.0%} of the problems at least"
        f" once; {found['signal_share']:.0%} of the groups have a signal;"
        f" {found['truncated']:.0%} are cut at the limit"
    )
    for line in found["advice"]:
        display.say(f"pilot: {line}")
    if not found["signal_share"]:
        raise RunFailed(
            f"pilot: for each of {found['prompts']} problems all completions got the same reward,"
            " so there is nothing to learn from; `--resume-anyway --set pilot=0` trains"
            " nevertheless"
        )


def ask(
    pilot: Pilot,
    engine: Engine,
    problems: Sequence[Problem],
    scorer: BatchScorer,
    display: Display,
) -> dict[str, Any]:
    count = min(pilot.problems, len(problems))
    chosen = random.Random(pilot.seed).sample(list(problems), count)
    sampling = Sampling(
        pilot.max_completion_length,
        pilot.completions_per_step,
        temperature=pilot.temperature,
        samples=pilot.num_generations,
        seed=pilot.seed,
    )
    started = time.monotonic()
    rollouts = roll_out(engine, chosen, sampling, pilot.system_prompt, display, "pilot")
    seconds = time.monotonic() - started
    return summarize(pilot, scorer.score(rollouts), seconds)


def summarize(pilot: Pilot, scored: list[Scored], seconds: float) -> dict[str, Any]:
    """pilot.json: shares in [0, 1], lengths in tokens, and advice where a number is unusual."""
    lengths = [one.rollout.tokens for one in scored]
    tenths = quantiles(lengths, n=10, method="inclusive")
    per_step = seconds * pilot.completions_per_step / len(scored)
    found = {
        "prompts": len(scored) // pilot.num_generations,
        "num_generations": pilot.num_generations,
        "pass_rate": share_of(scored, Verdict.CORRECT),
        "pass_at_g": pass_at_g(scored),
        "signal_share": signal_share(scored),
        "reward": mean(one.total for one in scored),
        "truncated": mean(one.rollout.truncated for one in scored),
        "tokens": {"p10": tenths[0], "p50": tenths[4], "p90": tenths[8], "max": max(lengths)},
        "seconds": round(seconds, 2),
        "generation_seconds_per_step": round(per_step, 2),
        "groups": outcomes(scored),
    }
    return found | {"advice": advice(found, pilot.max_completion_length)}


def advice(found: dict[str, Any], limit: int) -> list[str]:
    """What is out of the ordinary, with the number, and what to do; [] where nothing is."""
    lines = []
    # Some of a group are right and some are not, or the two shares would be one.
    mixed = found["pass_at_g"] > found["pass_rate"]
    if mixed and not found["signal_share"]:
        lines.append(
            f"{found['pass_rate']:.0%} of the completions are right, and those of a group are all"
            " paid alike: the reward functions are at fault, not the problems. `python -m rewards"
            " RECIPE --self-test` shows what they pay."
        )
    elif found["pass_rate"] == 0:
        lines.append(
            "No completion is right: the problems are too hard, or the answers are not in the form"
            " that is read. SFT first helps."
        )
    elif found["pass_rate"] > TOO_EASY:
        lines.append(
            f"{found['pass_rate']:.0%} of the completions are right: the problems are too easy to"
            " learn much from."
        )
    if found["signal_share"] < FEW_SIGNALS:
        lines.append(
            f"{found['signal_share']:.0%} of the groups have a signal: other problems, a larger"
            " grpo.num_generations, or grpo.dynamic_sampling."
        )
    if found["truncated"] > MANY_CUT:
        lines.append(
            f"{found['truncated']:.0%} of the completions are cut at {limit} tokens: a larger"
            " grpo.max_completion_length."
        )
    return lines
