"""What would a recipe's rewards pay?

python -m rewards RECIPE --self-test                               six completions; the perfect one
must earn most, noise nothing python -m rewards RECIPE --gold 18 --completion-file FILE          one
completion, from a file or - for standard input python -m rewards RECIPE --completion-file
FILE.jsonl              many: {"completion": ..., "gold": ...} a line
"""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from onecard.console.command import run_command
from onecard.recipe import Recipe
from onecard.recipe_file import load_recipe
from onecard.types import Rollout, Sample, UserError
from rewards import expand
from rewards.answer import grade
from rewards.base import weighted_sum
from rewards.custom import Custom, check_functions
from rewards.selftest import check_cases, checked, run_cases


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m rewards",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument(
        "--completion-file", metavar="FILE", help="a text, or .jsonl; - reads standard input"
    )
    parser.add_argument("--gold", help="the right answer, where the file does not hold it")
    args = parser.parse_args()
    return run_command(lambda: act(args))


def act(args: argparse.Namespace) -> int:
    recipe = load_recipe(args.recipe, args.set)
    check_functions(recipe.rewards)
    if args.self_test:
        return self_test(recipe)
    if args.completion_file is None:
        raise UserError("give --self-test, or --completion-file FILE (- for standard input)")
    show(recipe, read_rollouts(args.completion_file, args.gold))
    return 0


def read_rollouts(file: str, gold: str | None) -> list[Rollout]:
    """Rollouts from a text or a jsonl file. Raises UserError naming the line."""
    if file != "-" and not Path(file).is_file():
        raise UserError(f"--completion-file: no file {file}")
    text = (
        sys.stdin.read()
        if file == "-"
        else Path(file).read_text(encoding="utf-8", errors="surrogateescape")
    )
    if not file.endswith(".jsonl"):
        if gold is None:
            raise UserError("--gold: give the right answer that the completion is compared with")
        return [Rollout(Sample("1", "", gold), text, len(text.split()))]
    rollouts = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            answer = row.get("gold", gold)
            if answer is None:
                raise KeyError("gold")
            sample = Sample(str(number), row.get("question", ""), str(answer))
            rollouts.append(Rollout(sample, row["completion"], len(row["completion"].split())))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(
                f'{file}, line {number}: wanted {{"completion": "...", "gold": "..."}}'
            ) from None
    return rollouts


def show(recipe: Recipe, rollouts: list[Rollout]) -> None:
    rewards = expand(recipe.rewards)
    table = Table(
        *("row", *(f"{r.label} x {r.weight:g}" for r in rewards), "total", "verdict", "extracted")
    )
    for rollout in rollouts:
        values = [checked(reward, rollout) for reward in rewards]
        read = grade(rollout.text, rollout.sample.gold, recipe.answer_format)
        total = weighted_sum([reward.weight for reward in rewards], values)
        cells = ["-" if value is None else f"{value:g}" for value in values]
        table.add_row(
            rollout.sample.id,
            *cells,
            f"{total:g}",
            str(read.verdict),
            ascii(read.extracted)[1:-1] if read.extracted else "",
        )
    Console().print(table)


def self_test(recipe: Recipe) -> int:
    rewards = expand(recipe.rewards)
    cases = run_cases(rewards)
    table = Table(
        Column("completion", no_wrap=True),
        Column("earns", justify="right", no_wrap=True),
        "of it, weight x value",
    )
    for case in cases:
        paid = {reward.label: (reward.weight, case.values.get(reward.label)) for reward in rewards}
        parts = [
            f"{label} {weight:g} x {value:.3g}" for label, (weight, value) in paid.items() if value
        ]
        table.add_row(case.name, f"{case.total:.3g}", ", ".join(parts))
    Console().print(table)
    for reward in rewards:
        if isinstance(reward, Custom) and not any(case.values.get(reward.label) for case in cases):
            print(
                f"note: {reward.label} pays none of them: does it look for other tags than"
                " data.system_prompt asks for?"
            )
    faults = check_cases(cases)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
