"""Evaluate a model or a run on a benchmark, compare two evaluations, or read one.

    python -m eval runs/tiny                            the run's benchmarks, prompt and adapter
    python -m eval runs/tiny --base --benchmark svamp   the model it started from, another benchmark
    python -m eval Qwen/Qwen2.5-1.5B-Instruct --benchmark gsm8k --shots 8
    python -m eval MODEL --benchmark mine.jsonl --samples 8 --temperature 0.7
    python -m eval compare runs/a/eval/gsm8k runs/b/eval/gsm8k   two evaluations, same problems
    python -m eval compare runs/a runs/b runs/c         what differs in recipes and results
    python -m eval show runs/tiny --changed             before beside after, problem by problem

Ctrl-C loses nothing that was finished: the same command continues.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from eval.benchmarks import BENCHMARKS, known_benchmark
from eval.task import FEW_SHOT_STOP, Task, load_task
from eval.terminal import WHICH, print_comparison, print_scores, show
from onecard.console.command import positive, run_command
from onecard.console.display import Display
from onecard.files.disk_errors import FULL
from onecard.recipe.file import load_recipe
from onecard.recipe.rewards import open_rewards
from onecard.recipe.schema import Recipe
from onecard.report.comparison import compare_runs
from onecard.run.folder import RECIPE
from onecard.target import Target, find_target
from onecard.types import Sampling, UserError


def main(arguments: list[str]) -> int:
    return run_command(
        lambda: act(arguments),
        stopped="stopped; the same command, without --again, continues an evaluation",
    )


def act(arguments: list[str]) -> None:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    try:
        if command == "compare":
            parser = argparse.ArgumentParser(prog="python -m eval compare")
            parser.add_argument("one", type=Path, help="an evaluation's folder, or a run's")
            parser.add_argument("other", type=Path, nargs="+", help="others, of the same problems")
            parser.add_argument("--out", type=Path, help="of runs: a folder for a page with a plot")
            parser.add_argument(
                "--across-templates",
                action="store_true",
                help="though their chat templates write the prompts differently",
            )
            args = parser.parse_args(rest)
            compare_folders([args.one, *args.other], args)
        elif command == "show":
            parser = argparse.ArgumentParser(prog="python -m eval show")
            parser.add_argument("folder", type=Path, help="a run, or one evaluation's folder")
            parser.add_argument(
                "--benchmark", help="which of a run's benchmarks (default: its first)"
            )
            group = parser.add_mutually_exclusive_group()
            for which, about in WHICH.items():
                group.add_argument(
                    f"--{which}", dest="which", action="store_const", const=which, help=about
                )
            args = parser.parse_args(rest)
            show(args.folder, args.benchmark, args.which)
        else:
            evaluate_target(parse(arguments), Display())
    except OSError as error:  # a name that is too long, a folder that may not be read
        if error.errno in FULL:
            raise
        raise UserError(f"{str(error.filename)[:80]}: {error.strerror}") from None


def compare_folders(folders: list[Path], args: argparse.Namespace) -> None:
    """Two evaluations, or any number of runs."""
    if any((folder / RECIPE).is_file() for folder in folders):
        if args.across_templates:
            raise UserError("--across-templates is for two evaluations; runs are compared anyway")
        Display().console.print(compare_runs(folders, args.out), soft_wrap=True)
    elif len(folders) == 2 and args.out is None:
        one, other = folders
        print_comparison(one, other, args.across_templates)
    else:
        raise UserError("compare: wanted two evaluations, or the folders of finished runs")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "target",
        metavar="MODEL_OR_RUN",
        help="a run folder, an adapter's or a model's folder, or a hub id",
    )
    parser.add_argument(
        "--benchmark",
        action="append",
        metavar="NAME",
        help=f"{', '.join(BENCHMARKS)}, or a file of rows, PATH.jsonl",
    )
    parser.add_argument(
        "--recipe",
        metavar="YAML",
        help=(
            "take prompt, answer format, token limit, precision and data from it (of a run: its"
            " own)"
        ),
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="the folder that holds gsm8k/ and svamp/ (default: data/, ../shared/data/, the hub)",
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--base", action="store_true", help="the base model without the adapter")
    either.add_argument("--adapter", metavar="FOLDER", help="put this adapter on the model")
    parser.add_argument(
        "--shots",
        type=positive,
        metavar="K",
        help="few-shot, as plain text (default: zero-shot through the chat template)",
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="the first N problems (default: all)"
    )
    parser.add_argument(
        "--samples",
        type=positive,
        default=1,
        metavar="K",
        help="completions a problem, for mean@k, pass@k and maj@k",
    )
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (the default)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampling")
    parser.add_argument(
        "--max-completion-length",
        type=positive,
        metavar="TOKENS",
        help="(default: the recipe's, else 512)",
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="for the transformers engine (default: the recipe's, else 16)",
    )
    parser.add_argument("--engine", choices=("auto", "transformers", "vllm"), default="auto")
    parser.add_argument(
        "--load-in-4bit",
        action=argparse.BooleanOptionalAction,
        help="(default: as the recipe says, else no)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where the evaluations go (default: RUN/eval, or runs/eval-MODEL)",
    )
    parser.add_argument("--again", action="store_true", help="replace an evaluation that is there")
    args = parser.parse_args(arguments)
    if args.samples > 1 and args.temperature <= 0:
        raise UserError(
            f"--samples {args.samples}: greedy decoding gives the same completion every time; add"
            " --temperature 0.7"
        )
    if not (args.temperature == 0 or 0.01 <= args.temperature <= 100):
        raise UserError(f"--temperature {args.temperature}: wanted 0 (greedy), or 0.01 to 100")
    return args


def evaluate_target(args: argparse.Namespace, display: Display) -> None:
    target = find_target(args.target, args.adapter, args.base)
    if args.recipe:
        target = with_recipe(target, load_recipe(args.recipe, say=display.say))
    recipe = target.recipe
    tasks = load_tasks(args, recipe)
    folders = {
        name: (args.out or target.folder) / folder_name(args, task) for name, task in tasks.items()
    }
    display.say(f"importing torch and loading {args.target}")
    from eval.asking import evaluate
    from onecard.model.engines.vllm import load_engine

    load_in_4bit, context = False, None
    if recipe:
        load_in_4bit, context = recipe.model.load_in_4bit, recipe.model.max_seq_length
    if args.load_in_4bit is not None:
        load_in_4bit = args.load_in_4bit
    scorer = None
    if recipe and recipe.eval.score:
        scorer = open_rewards(recipe)
    engine = load_engine(args.engine, target.weights, load_in_4bit, context)
    for name, task in tasks.items():
        evaluate(engine, task, folders[name], display, name, args.again, scorer)
        print_scores(folders[name], display.console)


def with_recipe(target: Target, recipe: Recipe) -> Target:
    """The same weights, asked and loaded as a recipe says."""
    weights = replace(
        target.weights,
        trusted=recipe.model.trust_remote_code,
        as_trained=True,
        chat=recipe.model.chat,
    )
    return replace(target, recipe=recipe, weights=weights)


def load_tasks(args: argparse.Namespace, recipe: Recipe | None) -> dict[str, Task]:
    """The tasks that the command line asks for, by the benchmark's name on it."""
    own = recipe.source if recipe else None
    answer_format = recipe.answer.format if recipe else "auto"
    sampling = Sampling(
        args.max_completion_length or (recipe.eval.max_completion_length if recipe else 512),
        args.batch_size or (recipe.eval.batch_size if recipe else 16),
        args.temperature,
        args.samples,
        args.seed,
        FEW_SHOT_STOP if args.shots else (),
    )
    names = args.benchmark or (recipe.eval.benchmarks if recipe else ["gsm8k"])
    tasks = {}
    for name in names:
        try:
            known_benchmark(name)
        except ValueError as error:
            raise UserError(f"--benchmark: {error}") from None
        usual = BENCHMARKS[name].prompt if name in BENCHMARKS else None
        tasks[name] = load_task(
            name,
            own,
            sampling,
            system_prompt=recipe.data.system_prompt if recipe else usual,
            answer_format=answer_format,
            score=recipe.eval.score if recipe else None,
            shots=args.shots or 0,
            limit=args.limit,
            root=args.data,
        )
    if len({task.benchmark for task in tasks.values()}) < len(names):
        raise UserError(
            f"--benchmark: two of {', '.join(names)} have one name, and their results would have"
            " one folder"
        )
    return tasks


def folder_name(args: argparse.Namespace, task: Task) -> str:
    """gsm8k-8shot-first100-4x0.7: what is usually varied.

    An evaluation that differs otherwise needs --out or --again.
    """
    parts = [task.benchmark]
    parts += ["base"] if args.base else []
    parts += [f"{args.shots}shot"] if args.shots else []
    parts += [f"first{args.limit}"] if args.limit else []
    parts += [f"{args.samples}x{args.temperature:g}"] if args.temperature else []
    return "-".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
