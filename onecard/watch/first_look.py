"""Before the model loads: the rewards are tried on real rows, put as training puts them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onecard.data.prompts import opens_think, prompt_for, tokenize
from onecard.types import Problem
from rewards.cases import check_own_cases, read_cases
from rewards.scoring import BatchScorer
from rewards.selftest import Asked, check_rewards, some_of


def try_rewards(
    scorer: BatchScorer,
    problems: Sequence[Problem],
    tokenizer: Any,
    system_prompt: str | None,
    num_generations: int,
) -> list[str]:
    """What there is to tell of the rewards. Raises UserError where they fail or pay for noise."""
    if not scorer.rewards:
        return []  # of a run whose stages sample nothing
    asked = [
        Asked(
            problem,
            prompt_for(problem, system_prompt),
            opens_think(tokenizer, problem, system_prompt),
            encode=lambda text: tokenize(tokenizer, [text])[0],
        )
        for problem in some_of(problems)
    ]
    told = check_rewards(scorer, asked, num_generations)
    for one in scorer.scorers:
        told += one.look_at(problems)
    if scorer.scoring.cases:
        check_own_cases(read_cases(Path(scorer.scoring.cases)), scorer, problems)
    return told
