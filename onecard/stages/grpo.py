"""GRPO: completions of the same prompt are compared, and those that earn more become likelier."""

from onecard.data.section import Data
from onecard.run.round import Round
from onecard.stages.evaluations import best_on_dev, best_step
from onecard.stages.sections import StageSections
from onecard.stages.sections.grpo import Grpo
from onecard.stages.training import Training
from onecard.types import UserError
from onecard.watch.clock import StepClock


def plan_lines(sections: StageSections, data: Data) -> list[str]:
    grpo = section_of(sections)
    steps = grpo.iterate * grpo.max_steps
    completions = steps * grpo.completions_per_step // grpo.num_iterations
    tokens = completions * grpo.max_completion_length
    longest = data.max_prompt_length + grpo.max_completion_length
    per_step = grpo.completions_per_step * longest
    rounds = f"{grpo.iterate} rounds of " if grpo.iterate > 1 else ""
    return [
        f"GRPO       {rounds}{grpo.max_steps} steps x {grpo.prompts_per_step} prompts x"
        f" {grpo.num_generations} completions",
        f"           {completions:,} completions, at most {tokens:,} generated tokens",
        f"           at most {longest} tokens a sequence, {per_step:,} a step",
    ]


def check(training: Training, tokenizer: object) -> None:
    from onecard.stages.trl.config import build_grpo_config

    rounds = training.sections.all_rounds
    build_grpo_config(training, next(one for one in rounds if one.stage == "grpo"))


def pilot(training: Training) -> None:
    """Is there anything to learn from? Asked with the policy as GRPO begins with it."""
    from onecard.watch.pilot import Pilot, run_pilot

    grpo = section_of(training.sections)
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


def run(training: Training, one: Round) -> None:
    """Train, watched at every step, and leave the policy, the last step and the best on dev."""
    from onecard.stages.trl.build import build_grpo_trainer
    from onecard.stages.trl.callback import GrpoSteps

    if training.take_up(one):
        return
    policy = training.load_policy()
    keeper = training.keeper(one, policy, best=lambda has: best_step(training, one, has))
    with training.display.phase(one.title, one.max_steps, begun=keeper.kept) as advance:
        clock = StepClock(training.card)
        steps = GrpoSteps(training, one, policy, keeper, clock, advance)
        trainer = build_grpo_trainer(training, one, policy, steps, clock)
        with training.keeping(keeper):
            last = trainer.train_from(training.checkpoint_of(one))
    training.last_step = one.steps_before + last
    training.ended_early = last < one.max_steps
    training.choice = trainer.choice.state() if trainer.choice else None
    training.best_on_dev = best_on_dev(training, one, keeper.has)
    training.put_away(one)


def section_of(sections: StageSections) -> Grpo:
    """Raises UserError where a recipe has none: what asks is for GRPO alone."""
    if sections.grpo is None:
        raise UserError(f"wanted a recipe with `grpo:`, got one with {', '.join(sections.stages)}")
    return sections.grpo
