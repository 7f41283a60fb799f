"""What would a recipe's rewards pay?

python -m rewards RECIPE --self-test                     the perfect completion must earn most
python -m rewards RECIPE --gold 18 --completion-file F   one completion, from a file or - for stdin
python -m rewards RECIPE --completion-file F.jsonl       many: {"completion": ..., "gold": ...}
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from onecard.console.command import run_command
from onecard.data.rows import columns_of
from onecard.recipe.file import load_recipe
from onecard.recipe.rewards import open_rewards
from onecard.recipe.schema import Recipe
from onecard.types import Problem, Rollout, UserError
from rewards.answer.kinds.table import KINDS, kind_of
from rewards.base import Fault
from rewards.cases import check_own_cases, read_cases
from rewards.custom import Custom, check_functions
from rewards.scoring import BatchScorer, total_of
from rewards.selftest import Asked, check_cases, made_up, outcomes_of, run_cases


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
    problems = rows_of(recipe) if args.self_test else []
    columns = columns_of(problems) if problems else None
    scorer = open_rewards(recipe, columns)
    if args.self_test:
        if recipe.scoring.cases and problems:
            check_own_cases(read_cases(Path(recipe.scoring.cases)), scorer, problems)
        kind = recipe.answer.kind or recipe.source.kind
        return self_test(scorer, problems[0] if problems else made_up(kind))
    if args.completion_file is None:
        raise UserError("give --self-test, or --completion-file FILE (- for standard input)")
    show(scorer, read_rollouts(args.completion_file, args.gold, recipe.answer.kind))
    return 0


def rows_of(recipe: Recipe) -> list[Problem]:
    """The recipe's training problems; none where they are not on this disk."""
    folder = recipe.source.folder
    if folder is not None and not folder.exists():
        print(f"no {folder} here, so a made-up problem is asked")
        return []
    return recipe.source.load("train")


def read_rollouts(file: str, gold: str | None, kind: str | None) -> list[Rollout]:
    """Rollouts from a text or a jsonl file. Raises UserError naming the line.

    `kind`: of the right answers; None: seen from each.
    """

    def problem_of(name: str, question: str, answer: Any) -> Problem:
        its_kind = kind or kind_of([answer])
        read = "" if its_kind == "none" else KINDS[its_kind].read_gold(answer)
        if read is None:
            raise UserError(f"--gold: {answer!r} is no answer of the recipe's kind {its_kind}")
        return Problem(name, question, read, kind=its_kind)

    if file == "-":
        text = sys.stdin.read()
    elif Path(file).is_file():
        text = Path(file).read_text(encoding="utf-8", errors="surrogateescape")
    else:
        raise UserError(f"--completion-file: no file {file}")
    if not file.endswith(".jsonl"):
        if gold is None:
            raise UserError("--gold: give the right answer that the completion is compared with")
        return [Rollout(problem_of("1", "", gold), text, len(text.split()))]
    rollouts = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            answer = row.get("gold", gold)
            if answer is None:
                raise KeyError("gold")
            problem = problem_of(str(number), row.get("question", ""), answer)
            completion = row["completion"]
            rollouts.append(Rollout(problem, completion, len(completion.split()), group=number))
        except UserError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(
                f'{file}, line {number}: wanted {{"completion": "...", "gold": "..."}}'
            ) from None
    return rollouts


def show(scorer: BatchScorer, rollouts: list[Rollout]) -> None:
    """A table: what each reward pays for each completion, and what the grader read."""
    headings = [f"{reward.label} x {reward.weight:g}" for reward in scorer.rewards]
    table = Table("row", *headings, "total", "verdict", "extracted")
    rollouts = scorer.grade(rollouts)
    for rollout, row in zip(rollouts, outcomes_of(scorer, rollouts), strict=True):
        scores = [None if isinstance(outcome, Fault) else outcome for outcome in row]
        cells = ["-" if score is None else f"{score.value:g}" for score in scores]
        total = total_of(scorer.rewards, scores)
        read = rollout.graded.extracted if rollout.graded else None
        extracted = ascii(read)[1:-1] if read else ""
        table.add_row(rollout.problem.id, *cells, f"{total:g}", str(rollout.verdict), extracted)
    Console().print(table)


def self_test(scorer: BatchScorer, problem: Problem) -> int:
    (cases,) = run_cases(scorer, [Asked(problem)])
    print(f"six completions of problem {problem.id}: {problem.question[:70]!r}")
    table = Table(
        Column("completion", no_wrap=True),
        Column("earns", justify="right", no_wrap=True),
        "of it, weight x value",
    )
    for case in cases:
        parts = []
        for reward in scorer.rewards:
            if value := case.values.get(reward.label):
                parts.append(f"{reward.label} {reward.weight:g} x {value:.3g}")
        table.add_row(case.name, f"{case.total:.3g}", ", ".join(parts))
    Console().print(table)
    for reward in scorer.rewards:
        unpaid = not any(case.values.get(reward.label) for case in cases)
        if isinstance(reward, Custom) and unpaid:
            print(
                f"note: {reward.label} pays none of them: does it look for other tags than"
                " data.system_prompt asks for?"
            )
    found = check_cases(cases)
    for line in found.told:
        print(f"note: {line}")
    for fault in found.refused:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if found.refused else 0


if __name__ == "__main__":
    sys.exit(main())
