"""Talk to what a run trained, its base model beside it: `python -m onecard.chat RUN`.

An empty line or Ctrl-D ends.
"""

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from onecard.console.command import positive, run_command
from onecard.console.text import visible
from onecard.data.prompts import prompt_for, render, tokenize
from onecard.target import find_target
from onecard.types import Problem, Sampling, UserError

if TYPE_CHECKING:
    from onecard.model.engines.transformers import TransformersEngine


def answers(engine: "TransformersEngine", prompt: list[int], sampling: Sampling) -> dict[str, str]:
    """What the base model and the tuned one write after a prompt."""
    with engine.model.disable_adapter():
        (base,) = engine.generate([prompt], sampling)
    (tuned,) = engine.generate([prompt], sampling)
    return {"base": base[0].text, "tuned": tuned[0].text}


def talk(
    run: str, questions: Iterable[str], max_completion_length: int | None, console: Console
) -> None:
    """Answer each question on its own, without memory of the others: as the model was trained."""
    target = find_target(run, adapter=None, base_only=False)
    if target.weights.adapter is None or target.recipe is None:
        raise UserError(
            f"{run} is not a run folder with an adapter; try `python -m onecard.chat runs/NAME`"
        )
    console.print(Text(f"loading {target.weights.base} and {target.weights.adapter}"))
    from onecard.model.engines.transformers import TransformersEngine

    recipe = target.recipe
    engine = TransformersEngine(
        target.weights, recipe.model.load_in_4bit, recipe.model.max_seq_length
    )
    sampling = Sampling(max_completion_length or recipe.eval.max_completion_length, batch_size=1)
    for question in questions:
        if not question.strip():
            return
        messages = prompt_for(Problem("", question.strip(), ""), recipe.data.system_prompt)
        (prompt,) = tokenize(engine.tokenizer, [render(engine.tokenizer, messages)])
        if len(prompt) + sampling.max_completion_length > engine.context:
            console.print(
                Text(
                    f"too long: {len(prompt)} tokens, and the model takes {engine.context} with the"
                    " completion"
                )
            )
            continue
        columns = Table.grid(expand=True, padding=(0, 1))
        written = answers(engine, prompt, sampling)
        for _ in written:
            columns.add_column(ratio=1)
        columns.add_row(
            *(
                Panel(visible(answer), title=who, title_align="left")
                for who, answer in written.items()
            )
        )
        console.print(columns)


def typed() -> Iterable[str]:
    """Lines as they are typed, or come through a pipe."""
    while True:
        try:
            yield input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m onecard.chat", description=__doc__)
    parser.add_argument("run", metavar="RUN", help="a run's folder")
    parser.add_argument(
        "--max-completion-length", type=positive, metavar="TOKENS", help="(default: the recipe's)"
    )
    args = parser.parse_args(arguments)
    return run_command(
        lambda: talk(args.run, typed(), args.max_completion_length, Console(highlight=False))
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
