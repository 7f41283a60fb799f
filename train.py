"""Train a reasoning model with GRPO on one GPU, and say whether it got better.

    python train.py recipes/tiny.yaml               the whole run, on a laptop
    python train.py RECIPE --plan                   what it would do; nothing is loaded or written
    python train.py RECIPE --fit 8GB                what to change so that it fits a card
    python train.py RECIPE --set grpo.max_steps=20  with one value changed
    python train.py RECIPE --resume                 go on with a run that was interrupted

The recipe is the only input; everything that a run makes is in runs/<name>/.
"""

import argparse
import sys
from typing import Any

from eval.target import check_adapter
from eval.task import Task, digest
from onecard.checkpoint import ADAPTER, Checkpoint
from onecard.console.command import RUNS, run_command
from onecard.console.display import Display
from onecard.console.stopping import Stopping
from onecard.data.problems import Problems, load_problems
from onecard.data.samples import drop_long_prompts
from onecard.files.hub import check_available, check_code
from onecard.machine.gpu import check_card, find_cards
from onecard.machine.gpu_use import watch_card
from onecard.machine.packages import check_vllm
from onecard.plan import fit_text, plan_text
from onecard.recipe import Recipe
from onecard.recipe_file import load_recipe
from onecard.resume import facts_of, resume_run
from onecard.runs import Run, open_run
from onecard.types import EvalResult, UserError
from rewards.custom import check_functions


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", help="a YAML file; recipes/ has the shipped ones")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value of the recipe; may be repeated",
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="print the resolved recipe and what it would do, then stop",
    )
    parser.add_argument(
        "--fit",
        metavar="CARD",
        help="print what to change so that it fits a card of, say, 8GB, then stop",
    )
    parser.add_argument(
        "--name", help="the run folder's name below runs/ (default: the recipe's name)"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in that folder from its newest checkpoint",
    )
    parser.add_argument(
        "--resume-anyway",
        action="store_true",
        help="the same, though harmless values of the recipe were changed",
    )
    args = parser.parse_args()
    return run_command(lambda: plan_or_train(args), again="add --resume to go on")


def plan_or_train(args: argparse.Namespace) -> None:
    recipe = load_recipe(args.recipe, args.set)
    if args.plan:
        print(plan_text(recipe))
    elif args.fit:
        print(fit_text(recipe, args.fit))
    else:
        train(recipe, args, Display())


def train(recipe: Recipe, args: argparse.Namespace, display: Display) -> None:
    # All that can be wrong with the input is found before anything is written.
    check_functions(recipe.rewards)
    check_card(find_cards(), needed=recipe.model.fast_inference)
    if recipe.model.fast_inference:
        check_vllm()
    if not recipe.model.made_here:
        check_available(recipe.model.name, "model", key="model.name")
        check_code(recipe.model.name, recipe.model.trust_remote_code)
    problems = load_problems(recipe)
    facts = facts_of(recipe, digest(problems.train))
    if args.resume or args.resume_anyway:
        run, checkpoint = resume_run(
            recipe, RUNS, args.name, facts, args.resume_anyway, display.say
        )
        where = (
            f"after step {checkpoint.step}"
            if checkpoint
            else "from the start of GRPO: no step was kept"
        )
        display.say(f"resuming {run.folder} {where}")
    else:
        run, checkpoint = open_run(recipe, RUNS, args.name), None
    try:
        run_phases(recipe, problems, run, checkpoint, facts, display)
    except UserError:
        run.discard()
        raise


def run_phases(
    recipe: Recipe,
    problems: Problems,
    run: Run,
    checkpoint: Checkpoint | None,
    facts: dict[str, Any],
    display: Display,
) -> None:
    stopping = Stopping(display)
    card = watch_card()  # before anything of ours is on it
    display.say(
        f"{recipe.name}: {len(problems.train):,} training problems; everything goes to"
        f" {run.folder}/"
    )
    display.say(
        "importing Unsloth, TRL and torch, about 10 seconds"
    )  # only once the input is known to be good
    with run.phase("import"):
        from onecard.policy import load_policy, load_tokenizer  # isort: skip  (unsloth, first)

        from eval.report import summary, write_report
        from eval.results import write_results
        from eval.run import evaluate
        from onecard.callbacks import EvaluateDev, RecordGrpo, SkipUseless, WatchHealth
        from onecard.grading import check_rewards
        from onecard.journal import Journal
        from onecard.keeper import Keeper
        from onecard.pilot import run_pilot
        from onecard.random_model import build_random_model
        from onecard.trainer import build_config, build_trainer
        from onecard.warmup import warm_up
        from onecard.worst_case import TryWorstCase

    config = build_config(recipe, run.checkpoints)
    journal = Journal(run, checkpoint.step if checkpoint else None)
    with run.phase("model and warm-up"):
        folder = run.folder / "random-model"
        weights = (
            build_random_model(recipe, problems.train, folder)
            if recipe.model.made_here
            else recipe.model.name
        )
        tokenizer = load_tokenizer(weights, recipe.model.trust_remote_code)
        check_rewards(recipe, tokenizer)
        usable = drop_long_prompts(problems.train, recipe, tokenizer)
        if too_long := len(problems.train) - len(usable):
            display.say(
                f"{too_long:,} prompts longer than {recipe.data.max_prompt_length} tokens are left"
                " out of training"
            )
        display.say(
            f"loading {weights}; what Unsloth and vLLM print meanwhile goes to"
            f" {run.folder}/loading.log"
        )
        policy = (
            warm_up(recipe, weights, usable, run, display)
            if recipe.warmup
            else load_policy(recipe, weights, run.folder)
        )
        if checkpoint:
            check_adapter(checkpoint.folder / ADAPTER, policy.base)

    def ask(task: Task, when: str) -> EvalResult:
        return evaluate(
            policy, task, run.evaluation(task.benchmark, when), display, f"{task.benchmark} {when}"
        )

    with run.phase("pilot"):
        run_pilot(recipe, policy, usable, run, display)

    with run.phase("evaluation before"):
        before = [ask(task, "before") for task in problems.benchmarks]
        if checkpoint is None:
            journal.evaluation(
                0, [*before, *([ask(problems.dev, "step-0")] if problems.dev else [])]
            )

    done = checkpoint.step if checkpoint else 0
    with run.phase("GRPO"), display.phase("GRPO", recipe.grpo.max_steps, begun=done) as tick:
        keeper = Keeper(recipe, run, policy, journal, facts, kept=done)
        callbacks = [
            TryWorstCase(recipe, display, run.folder),
            SkipUseless(journal.history),
            EvaluateDev(policy, problems.dev, recipe.eval.every_steps, run, journal),
            RecordGrpo(journal, tick),
            WatchHealth(recipe.health, run, journal, display),
            keeper,
        ]
        trainer = build_trainer(recipe, config, policy, usable, callbacks, card)
        stopping.finish = lambda: (
            f"step {keeper.keep()} is kept; add --resume to the command to go on"
        )
        try:
            last_step = trainer.train_from(checkpoint)
        except BaseException:
            keeper.keep()  # the step before the one that failed
            raise
        policy.save(run.adapter)

    with run.phase("evaluation after"):
        after = [ask(task, "after") for task in problems.benchmarks]
        journal.evaluation(last_step, after)

    used = {"problems_read": len(problems.train), "problems_used": len(usable)}
    write_results(run, recipe, before, after, **used, best_on_dev=keeper.best(), card=card)
    write_report(run.folder)
    display.console.print(summary(run.folder), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
