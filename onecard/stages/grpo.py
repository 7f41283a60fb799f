"""GRPO: completions of the same prompt are compared, and those that earn more become likelier."""

from collections.abc import Callable
from typing import Any

from onecard.data.section import Data
from onecard.run.checkpoint import ADAPTER
from onecard.stages.sections import StageSections
from onecard.stages.training import Training
from onecard.watch.clock import StepClock

NAME = "grpo"


def plan_lines(sections: StageSections, data: Data) -> list[str]:
    grpo = sections.grpo
    completions = grpo.max_steps * grpo.completions_per_step // grpo.num_iterations
    tokens = completions * grpo.max_completion_length
    longest = data.max_prompt_length + grpo.max_completion_length
    per_step = grpo.completions_per_step * longest
    return [
        f"GRPO       {grpo.max_steps} steps x {grpo.prompts_per_step} prompts x"
        f" {grpo.num_generations} completions",
        f"           {completions:,} completions, at most {tokens:,} generated tokens",
        f"           at most {longest} tokens a sequence, {per_step:,} a step",
    ]


def check(training: Training) -> None:
    from onecard.stages.trl.config import build_grpo_config

    build_grpo_config(training)


def pilot(training: Training) -> None:
    """Is there anything to learn from? Asked with the policy as GRPO begins with it."""
    from onecard.watch.pilot import Pilot, run_pilot

    grpo = training.sections.grpo
    asked = Pilot(
        problems=training.pilot,
        num_generations=grpo.num_generations,
        completions_per_step=grpo.completions_per_step,
        max_completion_length=grpo.max_completion_length,
        temperature=grpo.temperature,
        system_prompt=training.data.system_prompt,
        seed=training.seed,
    )
    policy = training.load_policy()
    run_pilot(asked, policy, training.problems, training.scorer, training.run, training.display)


def run(training: Training) -> None:
    """Train, watched at every step, and leave the policy, the last step and the best on dev."""
    from onecard.stages.trl.build import build_grpo_trainer
    from onecard.stages.trl.callback import GrpoSteps

    policy = training.load_policy()
    keeper = training.keeper(NAME, policy, best=lambda has: best_step(training, has))
    max_steps = training.sections.grpo.max_steps
    with training.display.phase("GRPO", max_steps, begun=keeper.kept) as advance:
        clock = StepClock(training.card)
        steps = GrpoSteps(training, policy, keeper, clock, advance)
        trainer = build_grpo_trainer(training, policy, steps, clock)
        with training.keeping(keeper):
            training.last_step = trainer.train_from(training.checkpoint_of(NAME))
    training.best_on_dev = best_on_dev(training, keeper.has)


def dev_accuracies(training: Training) -> dict[int, float]:
    """The accuracy on the dev split by step, as it was measured; step 0 is before training."""
    if training.dev is None:
        return {}
    key = f"eval/{training.dev.benchmark}/accuracy"
    return {
        line["step"]: line[key] for line in training.journal.history if line.get(key) is not None
    }


def best_step(training: Training, has: Callable[[int], bool]) -> int | None:
    """Of the steps with a checkpoint, the first with the highest accuracy on the dev split."""
    measured = dev_accuracies(training)
    kept = [step for step in measured if has(step)]
    return max(kept, key=lambda step: measured[step], default=None)


def best_on_dev(training: Training, has: Callable[[int], bool]) -> dict[str, Any] | None:
    """The best step on the dev split, where its adapter is, and the accuracy before training.

    None where that was not measured, or none of the measured steps is kept.
    """
    step = best_step(training, has)
    if step is None:
        return None
    measured = dev_accuracies(training)
    folder = training.run.checkpoints(NAME) / f"checkpoint-{step}" / ADAPTER
    return {
        "step": step,
        "accuracy": measured[step],
        "before": measured.get(0),
        "adapter": str(folder.relative_to(training.run.folder)),
    }
