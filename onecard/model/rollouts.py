"""Completions of problems, drawn as training draws them, before a reward has seen them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from onecard.console.display import Display
from onecard.data.prompts import opens_think, prompt_for, prompt_tokens
from onecard.files.atomic import write_atomic
from onecard.files.formats import append_jsonl, whole_lines
from onecard.model.engines.protocol import Engine
from onecard.types import Completion, Problem, Rollout, Sampling


def roll_out(
    engine: Engine,
    problems: Sequence[Problem],
    sampling: Sampling,
    system_prompt: str | None,
    display: Display,
    label: str,
    drawn: Path | None = None,
) -> list[Rollout]:
    """`sampling.samples` completions of each problem; those of a problem stand together.

    `drawn` is a file that gets them as they come. What an interrupted process left there is not
    drawn again.
    """
    size, tokenizer = sampling.samples, engine.tokenizer
    asked = [problem for problem in problems for _ in range(size)]
    prompts = [prompt_for(problem, system_prompt) for problem in asked]
    found = read_drawn(drawn) if drawn else {}
    with display.phase(label, len(asked), unit="completion", begun=len(found)) as advance:
        tokens = prompt_tokens(tokenizer, prompts)
        for completions in engine.generate(tokens, sampling, done=list(found)):
            found |= completions
            if drawn:
                add_drawn(drawn, completions)
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


def add_drawn(file: Path, completions: Mapping[int, Completion]) -> None:
    """A line for each, on the disk before this returns."""
    rows = ([n, one.text, one.tokens, one.truncated, one.ids] for n, one in completions.items())
    append_jsonl(file, rows)


def read_drawn(file: Path) -> dict[int, Completion]:
    """Completions by their places; whole lines alone stay in the file."""
    if not file.is_file():
        return {}
    whole = whole_lines(file)
    write_atomic(file, whole)
    rows = [json.loads(line) for line in whole.splitlines()]
    return {
        place: Completion(text, tokens, truncated, tuple(ids))
        for place, text, tokens, truncated, ids in rows
    }
