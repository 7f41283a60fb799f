"""The experiments of docs/experiments.md: their recipes can be run, and its numbers are kept."""

import pytest
import yaml

from bench.experiments import SEEDS
from bench.experiments_page import (
    FOLDER,
    NOT_READ,
    PAGE,
    RESULTS,
    load_experiments,
    load_runs,
    page,
)
from bench.faster import reached
from onecard.recipe.file import load_recipe

ARMS = yaml.safe_load((FOLDER / "arms.yaml").read_text(encoding="utf-8"))


@pytest.mark.unit
@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_is_a_recipe_that_samples_as_many_completions(arm: str) -> None:
    changes = [change.replace("PAIRS", "pairs.jsonl") for change in ARMS[arm]]
    recipe = load_recipe(FOLDER / "grpo.yaml", changes)
    sampled = 0
    if recipe.grpo:
        steps = recipe.grpo.iterate * recipe.grpo.max_steps
        sampled += steps * recipe.grpo.completions_per_step
    for stage in (recipe.rft, recipe.dpo):
        if stage and stage.samples:
            sampled += stage.samples.problems * stage.samples.num_generations
    assert sampled == (0 if arm == "sft" else 2560)


@pytest.mark.unit
def test_every_question_is_about_arms_that_there_are() -> None:
    asked = {arm for experiment in load_experiments() for arm in experiment.arms}
    assert asked == set(ARMS)


def test_the_page_is_what_its_files_say() -> None:
    """Made again from docs/experiments/*.json: no number was written by hand."""
    experiments = load_experiments()
    assert PAGE.read_text(encoding="utf-8") == page(experiments)
    for experiment in experiments:
        if all(len(load_runs(arm)) == len(SEEDS) for arm in experiment.arms):
            assert experiment.found != NOT_READ
            assert (RESULTS / f"{experiment.name}.svg").is_file()


@pytest.mark.unit
def test_an_accuracy_is_reached_when_three_evaluations_have_it_as_their_mean() -> None:
    curve: list[list[float]] = [
        # step, seconds, tokens, accuracy
        [0, 0, 0, 0.2],
        [5, 10, 100, 0.4],
        [10, 20, 200, 0.6],
        [15, 30, 300, 0.8],
    ]
    assert reached(curve, 0.39) == (20, 200)
    assert reached(curve, 0.5) == (30, 300)
    assert reached(curve, 0.7) is None
