"""Recipes: what is accepted, and how a fault is told to the person who made it."""

from pathlib import Path
from typing import Any

import pytest

from onecard.data.stored import Stored
from onecard.files.formats import write_yaml
from onecard.recipe.file import load_recipe
from onecard.recipe.schema import Recipe
from onecard.stages.grpo import section_of
from onecard.stages.sections import NAMES
from onecard.stages.table import STAGES
from onecard.types import UserError

pytestmark = pytest.mark.unit
RECIPES = sorted(Path(__file__).parent.parent.glob("recipes/*.yaml"))
TINY = Path(__file__).parent.parent / "recipes/tiny.yaml"


def edited(tmp_path: Path, old: str, new: str) -> Path:
    """A copy of tiny.yaml with one text replaced."""
    text = TINY.read_text()
    assert old in text
    file = tmp_path / "edited.yaml"
    file.write_text(text.replace(old, new, 1))
    return file


def line_of(file: Path, text: str) -> int:
    return next(
        number for number, line in enumerate(file.read_text().splitlines(), start=1) if text in line
    )


def fault(path: Path | str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_recipe(path, list(overrides))
    return str(caught.value)


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_shipped_recipe_loads_and_is_named_after_its_file(file: Path) -> None:
    assert load_recipe(file).name == file.stem


@pytest.mark.parametrize(
    ("old", "new", "key", "suggestion"),
    [
        ("max_steps: 80", "max_stepz: 80", "grpo.max_stepz", "max_steps"),
        ("  rank:", "  rnak: 1\n  rank:", "lora.rnak", "rank"),
        ("seed: 0", "seeed: 0", "seeed", "seed"),
        ("    weight: 0.25", "    wieght: 0.25", "rewards.1.wieght", "weight"),
    ],
)
def test_unknown_key_is_refused_with_its_line_and_the_nearest_name(
    tmp_path: Path, old: str, new: str, key: str, suggestion: str
) -> None:
    file = edited(tmp_path, old, new)
    message = fault(file)
    assert (
        f"{file}, line {line_of(file, key.split('.')[-1])}: unknown key {key} (did you mean"
        f" '{suggestion}'?)" in message
    )


def test_unknown_key_of_set_names_the_option() -> None:
    assert (
        fault(TINY, "grpo.num_generation=4")
        == "--set grpo.num_generation=4: unknown key grpo.num_generation (did you mean"
        " 'num_generations'?)"
    )


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("grpo.max_steps=7", 7),
        ("grpo.learning_rate=1e-3", 0.001),
        ("grpo.learning_rate=5", 5.0),
        ("name=123", "123"),
        ("data.path=true", "true"),
        ("model.load_in_4bit=false", False),
        ("eval.limit=null", None),
        ("eval.benchmarks=[tiny-dev]", ["tiny-dev"]),
        ("rewards.1.weight=0.5", 0.5),
        ("sft.max_steps=9", 9),
    ],
)
def test_set_is_typed_by_the_schema(override: str, value: object) -> None:
    found: Any = load_recipe(TINY, [override])
    for part in override.split("=")[0].split("."):
        found = found[int(part)] if part.isdigit() else getattr(found, part)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "override",
    ["grpo.max_steps", "=3", "grpo..x=3", "rewards.7.weight=1", "name.x=1", "seed=[", "rewards=3"],
)
def test_set_that_makes_no_sense_is_refused(override: str) -> None:
    assert f"--set {override}" in fault(TINY, override)


@pytest.mark.parametrize("value", ["'10'", "10.5", "true", "null", "[10]"])
def test_wrong_type_is_refused_and_not_coerced(tmp_path: Path, value: str) -> None:
    file = edited(tmp_path, "max_steps: 400", f"max_steps: {value}")
    assert (
        f"line {line_of(file, 'max_steps:')}: sft.max_steps: Input should be a valid"
        " integer, got" in fault(file)
    )


@pytest.mark.parametrize("value", [".inf", ".nan"])
def test_infinities_are_refused(tmp_path: Path, value: str) -> None:
    assert "finite" in fault(edited(tmp_path, "weight: 0.25", f"weight: {value}"))


def test_ranges_are_shown() -> None:
    assert (
        fault(TINY, "grpo.num_generations=1")
        == "--set grpo.num_generations=1: grpo.num_generations: Input should be greater than or"
        " equal to 2, got 1"
    )


def test_batch_that_does_not_divide_shows_the_arithmetic_and_the_remedy() -> None:
    message = fault(TINY, "grpo.per_device_train_batch_size=20")
    assert "20 x gradient_accumulation_steps 1 = 20 completions per step" in message
    assert "num_generations 8 does not divide; make it 16 or 24" in message


def test_sequence_that_does_not_fit_shows_the_arithmetic() -> None:
    message = fault(TINY, "grpo.max_completion_length=100")
    assert (
        "112 + max_completion_length 100 = 212 tokens is more than model.max_seq_length 160; raise"
        " that to 212" in message
    )


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)  # 2 x 9^11 values


@pytest.mark.fault(
    "a recipe that is broken YAML, makes Python objects, or is a bomb of aliases",
    "refused in one line, nothing is run",
)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nname: b\n", "line 2: broken YAML: the key 'name' stands twice"),
        ("grpo:\n  beta: 0\n  beta: 1\n", "line 3: broken YAML: the key 'beta' stands twice"),
        ("name: [a\n", "broken YAML"),
        ("- a\n", "a recipe is a mapping of sections"),
        ("", "a recipe is a mapping of sections"),
        ("name: !!python/object/apply:os.system ['true']\n", "broken YAML"),
        ("? [a, b]\n: 1\n", "broken YAML"),
        (
            "a: &a [x, x]\nb: *a\n",
            "line 2: broken YAML: aliases (*name) are not taken; write the value out",
        ),
        (BOMB, "line 2: broken YAML: aliases (*name) are not taken"),
    ],
)
def test_bad_yaml_is_told_in_one_line(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    message = fault(file)
    assert str(file) in message
    assert expected in message
    assert "\n" not in message


def test_bytes_that_are_not_text_are_told(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(b"name: \xff\xfe")
    assert "not UTF-8 text" in fault(file)


def test_folder_and_missing_file_name_what_there_is() -> None:
    assert "tiny.yaml" in fault(TINY.parent)
    assert "did you mean 'recipes/tiny.yaml'?" in fault("recipes/tinny.yaml")


@pytest.mark.fault("a name that would leave the runs folder", "refused")
@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "a b"])
def test_names_that_would_leave_the_runs_folder_are_refused(name: str) -> None:
    assert "name" in fault(TINY, f"name={name}")


def test_rewards_are_known_once_and_pay_something(tmp_path: Path) -> None:
    assert "did you mean 'correct_answer'?" in fault(TINY, "rewards.0.name=corect_answer")
    assert "listed twice" in fault(TINY, "rewards.1.name=correct_answer")
    assert "every weight is 0" in fault(TINY, "rewards.0.weight=0", "rewards.1.weight=0")


def test_benchmarks_are_known() -> None:
    assert "did you mean 'tiny-shifted'?" in fault(TINY, "eval.benchmarks=[tiny-shift]")


def test_extra_takes_fields_of_the_stock_config_only() -> None:
    recipe = load_recipe(TINY, ["grpo.extra={entropy_coef: 0.8}"])
    assert section_of(recipe).extra == {"entropy_coef": 0.8}
    assert "no field 'entropy_coeff' (did you mean 'entropy_coef'?)" in fault(
        TINY, "grpo.extra={entropy_coeff: 0.8}"
    )
    assert "write it there" in fault(TINY, "grpo.extra={beta: 0.1}")
    assert "the run folder is --name" in fault(TINY, "grpo.extra={output_dir: /tmp}")


def test_random_weights_need_sft() -> None:
    assert "needs `sft:`" in fault(TINY, "sft=null")
    assert "needs `sft:`" in fault(TINY, "sft.trains=adapter")


@pytest.mark.parametrize(
    "value",
    [
        "2020-13-45",
        "!!int abc",
        "!!float x",
        "!!bool x",
        "!!timestamp foo",
        "9" * 5000,
        '"\\U00110000"',
        "!!map [a]",
        "&a [*a]",
        "[" * 2000,
        "yes",
        "010",
    ],
    ids=lambda value: value[:12],
)
def test_odd_values_are_told_without_a_traceback(tmp_path: Path, value: str) -> None:
    file = edited(tmp_path, "seed: 0", f"seed: {value}")
    assert str(file) in fault(file)


@pytest.mark.parametrize(
    "override",
    [
        "grpo.\u00b2=1",
        "rewards.\u2461.name=1",
        "rewards.\u0660.name=random",
        "grpo.max_steps=" + "[" * 2000,
    ],
)
def test_odd_overrides_are_told_without_a_traceback(override: str) -> None:
    assert "--set" in fault(TINY, override)


@pytest.mark.parametrize(
    "override",
    [
        "rewards=[{name: correct_answr}]",
        "eval.benchmarks=[tine]",
        "grpo={}",
        "rewards.0.name=7",
        "grpo.num_generations=3",
        "grpo.extra.seed=1",
    ],
)
def test_faults_of_an_override_are_blamed_on_it_and_not_on_the_file(override: str) -> None:
    message = fault(TINY, override)
    assert all(line.startswith(f"--set {override}: ") for line in message.splitlines())


def test_text_is_taken_as_it_is_where_the_schema_wants_text() -> None:
    recipe = load_recipe(
        TINY, ["data.system_prompt=Think first: then answer", "caveat=yes", "data.hub_config=1"]
    )
    assert (recipe.data.system_prompt, recipe.caveat, recipe.data.hub_config) == (
        "Think first: then answer",
        "yes",
        "1",
    )
    assert load_recipe(TINY, ["caveat=null"]).caveat is None


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("grpo.max_steps=010", "should be a valid integer, got '010'"),
        ("grpo.max_steps=1:30", "should be a valid integer, got '1:30'"),
        ("model.load_in_4bit=yes", "should be a valid boolean, got 'yes'"),
        ("eval.benchmarks=[tiny, tiny]", "stands twice"),
        ("grpo.epsilon_high=0.1", "epsilon_high 0.1 is smaller than epsilon 0.2"),
        ("grpo.loss_type=cispo", "cuts the ratio off at epsilon_high itself, and 0.2 is below 1"),
        ("grpo.loss_type=luspo", "for the ratio of each sequence; make importance_sampling_level"),
        ("grpo.loss_type=dr_grpo", "would override scale_rewards group; make scale_rewards none"),
        ("grpo.extra.vllm_importance_sampling_cap=2", "vllm_importance_sampling_clip_max"),
        ("data.train_problems=8", "train_problems 8 is fewer than the 16 prompts of a step"),
        ("model.fast_inference=true", "the tiny model has no vLLM path"),
        (
            "rewards.0={name: overlong, max_tokens: 512, buffer_tokens: 8}",
            "overlong's max_tokens 512 is more than grpo.max_completion_length 48",
        ),
        ("grpo.extra={logging_steps: 5}", "every step is logged"),
        ("grpo.extra={eval_strategy: steps}", "`eval:` says what is asked"),
        ("grpo.extra={load_best_model_at_end: true}", "`eval:` says what is asked"),
        ("grpo.extra={push_to_hub: true}", "onecard.export"),
        ("grpo.extra={bf16: true}", "the machine decides"),
        ("grpo.extra={generation_batch_size: 64}", "a step generates its own completions"),
        ("grpo.extra={chat_template_kwargs: {a: 1}}", "write `model.chat_template_kwargs:`"),
        ("eval.score=speed", "eval.score: 'speed' is no reward of this recipe; there are: correct"),
        ("lora.target_modules=[q_proj, lm_head]", "lm_head is not trained here: vLLM takes"),
    ],
)
def test_nonsense_is_not_accepted(override: str, told: str) -> None:
    assert told in fault(TINY, override)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("lora.r=8", "unknown key lora.r; here it is lora.rank"),
        ("num_generations=4", "unknown key num_generations (did you mean grpo.num_generations?)"),
        (
            "grpo.max_prompt_length=64",
            "unknown key grpo.max_prompt_length; here it is data.max_prompt_length",
        ),
        (
            "grpo.use_vllm=true",
            "unknown key grpo.use_vllm, which is not taken here: write `model.fast_inference:`",
        ),
        (
            "grpo.top_p=0.9",
            "unknown key grpo.top_p; it is a field of TRL's GRPOConfig: write it below grpo.extra",
        ),
    ],
)
def test_a_notebook_s_name_is_told_what_it_is_here(override: str, told: str) -> None:
    assert told in fault(TINY, override)


def test_a_folder_that_somebody_typed_is_never_replaced_by_the_recipe_s_data_on_the_hub() -> None:
    recipe = "recipes/gsm8k-qwen2.5-1.5b.yaml"
    assert load_recipe(recipe).data.hub_id == "openai/gsm8k"
    assert load_recipe(recipe, ["data.path=mine"]).source == Stored("mine")
    assert load_recipe(recipe, ["data.path=mine", "data.hub_id=me/mine"]).source == Stored(
        "mine", hub_id="me/mine"
    )


def test_what_is_asked_during_training_is_not_a_benchmark_too() -> None:
    told = fault(TINY, "eval.benchmarks=[tiny, tiny-dev]", "eval.every_steps=10")
    assert "tiny-dev is what eval.every_steps asks during training" in told


def told_by(file: Path, *overrides: str) -> tuple[Recipe, list[str]]:
    told: list[str] = []
    return load_recipe(file, list(overrides), say=told.append), told


def test_the_old_names_of_sections_are_taken_and_told_with_their_line(tmp_path: Path) -> None:
    file = edited(tmp_path, "sft:", "grading: {on_error: skip_group}\nwarmup:")
    recipe, told = told_by(file, "warmup.max_steps=7", "grading.deadline_seconds=5")
    assert recipe.sft is not None
    assert recipe.sft.max_steps == 7
    assert (recipe.scoring.on_error, recipe.scoring.deadline_seconds) == ("skip_group", 5.0)
    line = line_of(file, "warmup:")
    assert f"{file}, line {line}: `warmup:` is called `sft:` now; it is taken as that" in told
    assert any("`grading:` is called `scoring:` now" in text for text in told)
    assert told_by(TINY)[1] == []


def test_a_fault_below_an_old_name_is_told_with_its_line(tmp_path: Path) -> None:
    file = edited(tmp_path, "sft:", "warmup:")
    file.write_text(file.read_text().replace("max_steps: 400", "max_steps: many"))
    line = line_of(file, "max_steps: many")
    assert fault(file).startswith(f"{file}, line {line}: sft.max_steps: Input should be")


def test_an_old_name_beside_the_new_one_is_refused(tmp_path: Path) -> None:
    file = edited(tmp_path, "sft:", "grading: {}\nscoring: {}\nsft:")
    assert "`grading:` is called `scoring:` now, and both are there" in fault(file)


def test_the_answer_s_format_is_declared_once_for_all_that_read_one() -> None:
    assert load_recipe(TINY, ["answer.format=hash"]).answer.format == "hash"
    assert load_recipe(TINY).answer.format == "auto"
    # As older recipes have it: what one reward says holds for all of them.
    boxed = (
        "rewards=[{name: correct_answer, answer_format: boxed},"
        " {name: cosine_length, max_tokens: 40}]"
    )
    recipe, told = told_by(TINY, boxed)
    assert recipe.answer.format == "boxed"
    assert "answer: {format: boxed}" in told[0]
    assert not hasattr(recipe.rewards[0], "answer_format")
    # And said twice it must be the same.
    assert told_by(TINY, boxed, "answer.format=boxed")[0].answer.format == "boxed"


@pytest.mark.parametrize(
    "overrides",
    [
        [
            "rewards=[{name: correct_answer, answer_format: boxed},"
            " {name: cosine_length, max_tokens: 40, answer_format: auto}]"
        ],
        ["rewards=[{name: correct_answer, answer_format: boxed}]", "answer.format=hash"],
    ],
)
def test_a_reward_that_reads_another_format_is_refused(overrides: list[str]) -> None:
    told = fault(TINY, *overrides)
    assert "the answer's format is declared once, and here there are several: " in told
    assert "boxed in --set rewards=" in told
    assert "write `answer: {format: ...}`" in told


def test_what_health_has_as_constants_is_dropped_or_refused() -> None:
    recipe, told = told_by(TINY, "health.window_steps=20", "health.noise=2.0")
    assert recipe.health == load_recipe(TINY).health
    assert "window_steps, noise are constants now" in told[0]
    refused = fault(TINY, "health.window_steps=5")
    assert refused.startswith("--set health.window_steps=5: health.window_steps is no setting any")
    assert "a constant, 20" in refused


def test_stages_are_the_sections_that_are_there() -> None:
    assert load_recipe(TINY).stages == ["sft", "grpo"]
    assert load_recipe("recipes/gsm8k-qwen2.5-0.5b.yaml").stages == ["grpo"]
    (one,) = load_recipe("recipes/gsm8k-qwen2.5-0.5b.yaml").all_rounds
    assert (one.label, one.max_steps, one.is_last) == ("grpo", 100, True)
    assert load_recipe(TINY, ["stages=[sft, grpo]"]).stages == ["sft", "grpo"]


def test_a_section_that_is_set_or_left_out_changes_the_stages_of_a_resolved_recipe(
    tmp_path: Path,
) -> None:
    file = tmp_path / "resolved.yaml"
    content = load_recipe(TINY).resolved()
    assert content["stages"] == ["sft", "grpo"]
    write_yaml(file, content)
    assert load_recipe(file, ["sft=null", "model.name=mine"]).stages == ["grpo"]
    write_yaml(file, load_recipe(file, ["sft=null", "model.name=mine"]).resolved())
    sft = "sft={trains: adapter, max_steps: 2, batch_size: 4, learning_rate: 1e-3}"
    assert load_recipe(file, [sft]).stages == ["sft", "grpo"]


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ("[grpo]", "stages: [grpo] are not the sections that are there: sft, grpo"),
        ("[sft, sft, grpo]", "name each once"),
        ("[grpo, sft]", "stages: sft trains all weights, and grpo before it an adapter"),
        ("[sft, ppo]", "Input should be 'sft', 'distill', 'reward_model', 'rft', 'dpo' or 'grpo'"),
    ],
)
def test_a_list_of_stages_that_says_otherwise_is_refused(stages: str, told: str) -> None:
    assert told in fault(TINY, f"stages={stages}")


def test_the_stages_that_a_recipe_may_name_are_those_of_the_table() -> None:
    assert tuple(STAGES) == NAMES


def test_the_resolved_recipe_is_a_recipe_again(tmp_path: Path) -> None:
    """With every value, presets replaced by their parts, and its name at the top."""
    recipe = load_recipe(TINY, ["rewards=[{name: robust}]"])
    content = recipe.resolved()
    assert next(iter(content)) == "name"
    assert content["rewards"][0]["name"] == "correct_answer"
    write_yaml(tmp_path / "resolved.yaml", content)
    again, told = told_by(tmp_path / "resolved.yaml")
    assert again == recipe
    assert again.resolved() == content
    assert told == []
