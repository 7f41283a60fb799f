"""Completions of problems, drawn as training draws them, before a reward has seen them."""

from collections.abc import Sequence

from onecard.console.display import Display
from onecard.data.prompts import opens_think, prompt_for, prompt_tokens
from onecard.model.engines.protocol import Engine
from onecard.types import Completion, Problem, Rollout, Sampling


def roll_out(
    engine: Engine,
    problems: Sequence[Problem],
    sampling: Sampling,
    system_prompt: str | None,
    display: Display,
    label: str,
) -> list[Rollout]:
    """`sampling.samples` completions of each problem; those of a problem stand together."""
    size, tokenizer = sampling.samples, engine.tokenizer
    asked = [problem for problem in problems for _ in range(size)]
    prompts = [prompt_for(problem, system_prompt) for problem in asked]
    found: dict[int, Completion] = {}
    with display.phase(label, len(asked), unit="completion") as advance:
        for completions in engine.generate(prompt_tokens(tokenizer, prompts), sampling):
            found |= completions
            advance(len(found))
    opened = opens_think(tokenizer, asked[0], system_prompt)
    rollouts = []
    for place, problem in enumerate(asked):
        written = found[place]
        rollouts.append(
            Rollout(
                problem,
                written.text,
                written.tokens,
                written.truncated,
                opened,
                place,
                group=place // size,
                prompt=prompts[place],
                ids=written.ids,
            )
        )
    return rollouts
