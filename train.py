"""Train a reasoning model with GRPO on one GPU, and say whether it got better.

    python train.py recipes/tiny.yaml               the whole run, on a laptop
    python train.py RECIPE --plan                   what it would do; nothing is loaded or written
    python train.py RECIPE --fit 8GB                what to change so that it fits a card
    python train.py RECIPE --set grpo.max_steps=20  with one value changed
    python train.py RECIPE --resume                 go on with a run that was interrupted
    python train.py RECIPE --seeds 0,1,2            one run for each seed, and all compared
    python train.py RECIPE --sweep grpo.beta=0,0.03 one run for each value, and all compared

The recipe is the only input; everything that a run makes is in runs/<name>/.
"""

import argparse
import sys
from contextlib import ExitStack

from eval.problems import Problems, load_problems
from onecard.console.command import RUNS, run_command
from onecard.console.display import Display
from onecard.console.stopping import Stopping
from onecard.data.difficulty import levels_of
from onecard.data.prompts import drop_long_prompts
from onecard.data.rows import columns_of
from onecard.files.hub import check_available, check_code
from onecard.machine.gpu import check_card, find_cards
from onecard.machine.gpu_memory import watch_card
from onecard.machine.packages import check_vllm
from onecard.model.start import find_start, keep_start
from onecard.plan.fit import how_to_save
from onecard.plan.text import fit_text, plan_text
from onecard.recipe.file import load_recipe
from onecard.recipe.rewards import open_rewards
from onecard.recipe.schema import Recipe
from onecard.run.folder import check_name, open_run
from onecard.run.journal import Journal
from onecard.run.library_output import redirect_libraries
from onecard.run.process import LAUNCHER_SECONDS, is_first, processes, rank
from onecard.run.resume import origin_of, resume_run
from onecard.run.resumed import Resumed
from onecard.stages.processes import check_processes
from onecard.stages.table import STAGES, train_rounds
from onecard.stages.training import Training
from onecard.sweep.runner import read_asked, run_all
from onecard.types import EvalResult, RunFailed
from onecard.watch.first_look import try_rewards
from rewards.custom import check_functions


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("recipe", help="a YAML file; recipes/ has the shipped ones")
    option("--set", action="append", default=[], metavar="KEY=VALUE", help="change one value")
    option("--plan", action="store_true", help="print what it would do, then stop")
    option("--fit", metavar="CARD", help="print what to change for a card of, say, 8GB, then stop")
    option("--name", help="the run folder's name below runs/ (default: the recipe's name)")
    option("--resume", action="store_true", help="go on with that run from its newest checkpoint")
    option("--resume-anyway", action="store_true", help="though harmless values were changed")
    option("--seeds", metavar="N,N", help="one run for each seed, one after another")
    option("--sweep", action="append", default=[], metavar="KEY=VALUE,VALUE", help="for each value")
    args = parser.parse_args()
    again = "add --resume to go on"
    return run_command(lambda: plan_or_train(args), again=again, process=rank())


def plan_or_train(args: argparse.Namespace) -> int:
    display = Display(quiet=not is_first())
    if args.seeds is not None or args.sweep:
        return run_all(read_asked(args), display, check_input)
    recipe = load_recipe(args.recipe, args.set, say=display.say)
    if args.plan:
        print(plan_text(recipe))
    elif args.fit:
        print(fit_text(recipe, args.fit))
    else:
        train(recipe, args, display)
    return 0


def train(recipe: Recipe, args: argparse.Namespace, display: Display) -> None:
    problems = check_input(recipe)  # before anything is written
    opened = open_or_resume(recipe, problems, args, display)
    try:
        with ExitStack() as at_end:
            training = prepare(recipe, problems, opened, display, at_end)
            before, after = run_stages(recipe, problems, training)
    except (RunFailed, OSError):
        raise  # --resume goes on with it
    except Exception:  # a refusal, whoever refuses
        opened.run.discard()
        raise
    if is_first():
        report(recipe, problems, training, before, after)


def check_input(recipe: Recipe) -> Problems:
    """All that a recipe names is there, and the machine can train it. Raises UserError."""
    check_functions(recipe.rewards)
    check_card(find_cards(), needed=recipe.model.fast_inference)
    if recipe.model.fast_inference:
        check_vllm()
    for key, name, trusted in recipe.named_models:
        check_available(name, "model", key=key)
        check_code(name, trusted)
    find_start(recipe.model, recipe.lora)
    problems = load_problems(
        recipe.source, recipe.eval, recipe.answer, recipe.data, recipe.pair_files
    )
    check_processes(recipe, recipe.rewards, recipe.model.fast_inference)
    levels_of(problems.train, recipe.data.difficulty)
    return problems


def open_or_resume(
    recipe: Recipe, problems: Problems, args: argparse.Namespace, display: Display
) -> Resumed:
    """The run folder: a new one, or an interrupted run's with its newest checkpoint."""
    name = recipe.name if args.name is None else check_name(args.name)
    origin = origin_of(recipe.resolved(), problems.trained_on())
    if not (args.resume or args.resume_anyway):
        return Resumed(open_run(RUNS, name, recipe.resolved()), origin)
    rounds = recipe.all_rounds
    resumed = resume_run(RUNS / name, origin, rounds, args.resume_anyway, display.say)
    display.say(f"resuming {resumed.run.folder} {resumed}")
    return resumed


def prepare(
    recipe: Recipe, problems: Problems, opened: Resumed, display: Display, at_end: ExitStack
) -> Training:
    """What the stages work on, but for the policy; `at_end` closes the rewards, come what may."""
    run = opened.run
    stopping = Stopping(display, patience=LAUNCHER_SECONDS if processes() > 1 else 0.0)
    card = watch_card()  # before anything of ours is on it
    display.say(
        f"{recipe.name}: {len(problems.train):,} training problems; everything goes to"
        f" {run.folder}/"
    )
    for line in (*problems.told, "importing Unsloth, TRL and torch, about 10 seconds"):
        display.say(line)
    with run.phase("import"), redirect_libraries(run.folder):
        from onecard.model.load import load_tokenizer  # isort: skip  (unsloth, before all others)
        from onecard.model.random_model import build_random_model

    keep_start(recipe.model, recipe.lora, run)
    with run.phase("model"):
        training = new_training(recipe, columns_of(problems.train), opened, stopping)
        at_end.callback(training.scorer.close)
        training.dev, training.card = problems.dev, card
        training.pairs = {stage: list(pairs) for stage, pairs in problems.pairs.items()}
        system_prompt = recipe.data.system_prompt
        if recipe.model.made_here:
            training.weights = build_random_model(
                recipe.model,
                problems.train,
                run.random_model,
                system_prompt=system_prompt,
                answer_format=recipe.answer.format,
                seed=recipe.seed,
            )
        tokenizer = load_tokenizer(recipe.model, training.weights)
        for stage in recipe.stages:
            STAGES[stage].check(training, tokenizer)
        size, least = max(1, recipe.num_generations), recipe.least_problems
        for line in try_rewards(training.scorer, problems.train, tokenizer, system_prompt, size):
            display.say(f"rewards: {line}")
        training.problems = drop_long_prompts(problems.train, tokenizer, recipe.data, least)
    if too_long := len(problems.train) - len(training.problems):
        display.say(
            f"{too_long:,} prompts longer than {recipe.data.max_prompt_length} tokens are left out"
            " of training"
        )
    display.say(f"loading {training.weights}; what libraries print is in {run.folder}/loading.log")
    return training


def new_training(
    recipe: Recipe, columns: frozenset[str], opened: Resumed, stopping: Stopping
) -> Training:
    """The object that every stage takes, as the recipe fills it. `columns`: those of the rows."""
    return Training(
        seed=recipe.seed,
        model=recipe.model,
        lora=recipe.lora,
        data=recipe.data,
        answer=recipe.answer,
        sections=recipe,
        save=recipe.save,
        health=recipe.health,
        pilot=recipe.pilot,
        dev_every_steps=recipe.eval.every_steps,
        run=opened.run,
        journal=Journal(opened.run, opened.last_stage_steps),
        display=stopping.display,
        stopping=stopping,
        weights=recipe.model.name,
        how_to_save=how_to_save(recipe),
        scorer=open_rewards(recipe, columns, stopping.display.say, opened.run),
        origin=opened.origin,
        resumed=opened,
    )


def run_stages(
    recipe: Recipe, problems: Problems, training: Training
) -> tuple[list[EvalResult], list[EvalResult]]:
    """Evaluate the model before its last stage and after it: what that stage did is the claim."""
    from onecard.stages.evaluations import ask, write_scores
    from onecard.watch.alarm_log import tell_worse_benchmarks

    run = training.run
    rounds = recipe.all_rounds
    prepared = [one.of_last_stage for one in rounds].index(True)
    train_rounds(training, rounds[:prepared])
    with run.phase("pilot"):
        STAGES[recipe.stages[-1]].pilot(training)

    with run.phase("evaluation before"):
        before = [ask(training, task, "before") for task in problems.benchmarks]
        if training.resumed is None or not training.resumed.in_last_stage:
            dev = [ask(training, problems.dev, "step-0")] if problems.dev else []
            write_scores(training, 0, [*before, *dev])
    train_rounds(training, rounds[prepared:])
    if is_first():
        training.load_policy().save(run.adapter)
    with run.phase("evaluation after"):
        after = [ask(training, task, "after") for task in problems.benchmarks]
        write_scores(training, training.last_step, after)
    tell_worse_benchmarks(run, training.last_step, before, after, training.display)
    return before, after


def report(
    recipe: Recipe,
    problems: Problems,
    training: Training,
    before: list[EvalResult],
    after: list[EvalResult],
) -> None:
    """Write results.json and the report, and show the table at a run's end."""
    from onecard.report.report import write_report
    from onecard.report.results import write_results
    from onecard.report.summary import summary

    write_results(
        training.run,
        recipe,
        before,
        after,
        problems_read=len(problems.train),
        problems_used=len(training.problems),
        best_on_dev=training.best_on_dev,
        card=training.card,
    )
    write_report(training.run.folder)
    training.display.console.print(summary(training.run.folder), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
