"""The transformers engine and `python -m eval` with a real model: the same completions every time,
however they are made.
"""

import dataclasses
import inspect
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT, Call, run_eval, stock, variables

from onecard.model.weights import Weights
from onecard.recipe.file import load_recipe
from onecard.recipe.rewards import open_rewards
from onecard.recipe.schema import Recipe
from onecard.run.folder import Run
from onecard.stages.grpo import section_of
from onecard.types import Completion, Sampling, UserError

pytestmark = pytest.mark.e2e
ShortRun = tuple[Path, str]
GREEDY = Sampling(max_completion_length=48, batch_size=16)


@pytest.fixture(scope="module")
def engine(short_run: ShortRun) -> Any:
    """The short run's base model in 32 bit, and its adapter."""
    import unsloth  # noqa: F401  isort: skip  (other tests of this process need it imported before transformers)

    from onecard.model.engines.transformers import TransformersEngine

    folder = short_run[0]
    weights = Weights(str(folder / "base-model"), folder / "adapter")
    return TransformersEngine(weights, load_in_4bit=False, context=None)


@pytest.fixture(scope="module")
def prompts(engine: Any) -> list[list[int]]:
    from eval.benchmarks import load_benchmark
    from onecard.data.prompts import prompt_for, render, tokenize

    return tokenize(
        engine.tokenizer,
        [
            render(engine.tokenizer, prompt_for(problem, None))
            for problem in load_benchmark("tiny", None)[:40]
        ],
    )


def written(
    engine: Any, prompts: list[list[int]], sampling: Sampling, done: tuple[int, ...] = ()
) -> dict[int, Completion]:
    return {
        index: completion
        for batch in engine.generate(prompts, sampling, done)
        for index, completion in batch.items()
    }


def test_batches_shrinking_and_continuing_change_no_completion(
    engine: Any, prompts: list[list[int]]
) -> None:
    from onecard.model.engines.generation import generate

    one_by_one = written(engine, prompts, Sampling(48, batch_size=1))
    batched = written(engine, prompts, GREEDY)
    assert batched == one_by_one
    assert (
        len({completion.tokens for completion in batched.values()}) > 1
    )  # of different lengths, so that batches did shrink
    whole = {
        i: c
        for batch in generate(engine.model, engine.tokenizer, prompts, GREEDY, leave=False)
        for i, c in batch.items()
    }
    assert batched == whole
    order = sorted(range(40), key=lambda index: len(prompts[index]), reverse=True)
    continued = written(engine, prompts, GREEDY, done=tuple(order[:20]))
    assert set(continued) == set(
        order[16:]
    )  # the first batch is done, the second is made again as it was
    assert all(continued[index] == batched[index] for index in continued)


def test_a_completion_ends_where_transformers_own_generation_ends_it(
    engine: Any, prompts: list[list[int]]
) -> None:
    import torch

    for index in range(8):
        given = torch.tensor([prompts[index]])
        with torch.inference_mode():
            row = engine.model.generate(
                given, attention_mask=torch.ones_like(given), max_new_tokens=48, do_sample=False
            )[0, given.shape[1] :]
        completion = written(engine, [prompts[index]], GREEDY)[0]
        assert completion.tokens == len(row)
        assert completion.text == engine.tokenizer.decode(row, skip_special_tokens=True)
        assert completion.truncated == (row[-1].item() != engine.tokenizer.eos_token_id)


OWN = {
    "repetition_penalty": 5.0,
    "no_repeat_ngram_size": 2,
    "min_new_tokens": 45,
    "num_beams": 4,
    "suppress_tokens": [5, 6, 7, 8, 9],
    "encoder_repetition_penalty": 5.0,
    "temperature": 3.0,
    "top_k": 1,
    "min_p": 0.9,
    "typical_p": 0.2,
    "epsilon_cutoff": 0.5,
    "stop_strings": ["Tuesday"],
    "do_sample": True,
    "max_length": 3,
}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_model_s_own_generation_config_is_not_used(
    engine: Any, prompts: list[list[int]], temperature: float
) -> None:
    sampling = Sampling(48, 16, temperature=temperature)
    expected = written(engine, prompts, sampling)
    model = engine.model.get_base_model()
    own = model.generation_config
    for name, value in OWN.items():
        model.generation_config = type(own)(
            **{name: value}, eos_token_id=own.eos_token_id, pad_token_id=own.pad_token_id
        )
        given = model.generation_config
        assert written(engine, prompts, sampling) == expected, name
        assert model.generation_config is given
    model.generation_config = own


def test_sampling_follows_its_seed_and_leaves_the_rest_alone(
    engine: Any, prompts: list[list[int]]
) -> None:
    import torch

    def drawn(seed: int) -> dict[int, Completion]:
        return written(engine, prompts, Sampling(48, 16, temperature=1.0, seed=seed))

    engine.model.train()
    quiet = next(
        module for name, module in engine.model.named_modules() if name.endswith("layers.0")
    )
    quiet.eval()  # as some modules of a model in training are
    modes = [module.training for module in engine.model.modules()]
    state = torch.get_rng_state()
    first = drawn(0)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in engine.model.modules()] == modes
    engine.model.eval()
    torch.manual_seed(123)
    assert drawn(0) == first
    assert drawn(1) != first
    assert first != written(engine, prompts, GREEDY)


def test_a_stop_string_ends_a_completion_and_is_cut_off(
    engine: Any, prompts: list[list[int]]
) -> None:
    plain = written(engine, prompts, GREEDY)
    stopped = written(engine, prompts, Sampling(48, 16, stop=("Tuesday:",)))
    assert any("Tuesday:" in completion.text for completion in plain.values())
    for index, completion in plain.items():
        before, mark, _ = completion.text.partition("Tuesday:")
        assert stopped[index].text == before
        if mark:
            assert not stopped[index].truncated
            assert stopped[index].tokens < completion.tokens


def test_a_special_token_as_a_stop_string_is_no_truncation(
    engine: Any, prompts: list[list[int]]
) -> None:
    """As with a base model asked few-shot, whose end token is another than the <|im_end|> that it
    writes.
    """
    plain = written(engine, prompts, GREEDY)
    config, end = engine.model.get_base_model().generation_config, engine.tokenizer.eos_token
    declared = config.eos_token_id
    try:
        config.eos_token_id, engine.tokenizer.eos_token = None, "<|pad|>"
        stopped = [
            written(engine, prompts, Sampling(48, batch_size, stop=("<|im_end|>",)))
            for batch_size in (1, 16, 40)
        ]
    finally:
        config.eos_token_id, engine.tokenizer.eos_token = declared, end
    assert stopped == [plain, plain, plain]


def test_an_adapter_whose_tensors_have_no_place_is_refused(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """PEFT only warns of it, and the base would answer in the adapter's name."""
    import shutil

    import unsloth  # noqa: F401  isort: skip
    from safetensors.torch import load_file, save_file

    from onecard.model.engines.transformers import TransformersEngine

    shutil.copytree(short_run[0] / "adapter", tmp_path / "adapter")
    file = tmp_path / "adapter/adapter_model.safetensors"
    save_file(
        {
            name.replace("model.layers", "model.language_model.layers"): tensor
            for name, tensor in load_file(file).items()
        },
        file,
    )
    weights = Weights(str(short_run[0] / "base-model"), tmp_path / "adapter")
    with pytest.raises(UserError, match=r"of its tensors, such as .*, are not the model's"):
        TransformersEngine(weights, load_in_4bit=False, context=None)


@pytest.mark.parametrize("damage", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_model_is_one_sentence(short_run: ShortRun, tmp_path: Path, damage: str) -> None:
    import shutil

    import unsloth  # noqa: F401  isort: skip

    from onecard.model.engines.transformers import TransformersEngine

    shutil.copytree(short_run[0] / "base-model", tmp_path / "model")
    (tmp_path / "model" / damage).write_text("{}")
    with pytest.raises(UserError, match="cannot be loaded"):
        TransformersEngine(Weights(str(tmp_path / "model")), load_in_4bit=False, context=None)


def test_an_adapter_of_another_shape_is_refused(short_run: ShortRun, tmp_path: Path) -> None:
    import unsloth  # noqa: F401  isort: skip
    from transformers import AutoConfig, AutoModelForCausalLM

    from onecard.model.engines.transformers import TransformersEngine

    folder = short_run[0]
    config = AutoConfig.from_pretrained(folder / "base-model")
    config.hidden_size = 64
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "narrow")
    with pytest.raises(UserError, match=r"adapter does not fit .*narrow"):
        TransformersEngine(
            Weights(str(tmp_path / "narrow"), folder / "adapter"), load_in_4bit=False, context=None
        )


def items(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in (folder / "items.jsonl").read_text(encoding="utf-8").split("\n")
        if line
    ]


def test_a_run_evaluated_afterwards_says_what_it_said_during_the_run(
    short_run: ShortRun, eval_again: Call, tmp_path: Path
) -> None:
    """Other code loads the weights here, transformers and PEFT without Unsloth: the numbers are not
    Unsloth's doing.
    """
    folder = short_run[0]
    asked = ("--benchmark", "tiny", "--limit", "48", "--out", "out")
    done = run_eval(tmp_path, str(folder), *asked)
    assert done.returncode == 0, done.stderr
    afterwards, during = items(tmp_path / "out/tiny-first48"), items(folder / "eval/tiny-after")
    assert [item["prompt"] for item in afterwards] == [item["prompt"] for item in during]
    same = sum(a["completion"] == b["completion"] for a, b in zip(afterwards, during, strict=True))
    assert same == 48, same
    compared = run_eval(tmp_path, "compare", str(folder / "eval/tiny-after"), "out/tiny-first48")
    assert compared.returncode == 0, compared.stderr
    result = json.loads((tmp_path / "out/tiny-first48/result.json").read_text())
    assert result["model"]["adapter"]["sha256"]
    assert result["first_prompt"] == afterwards[0]["prompt"]
    again = eval_again(tmp_path, str(folder), *asked)
    assert "evaluated already" in again.stdout


def test_few_shot_and_sampled(short_run: ShortRun, eval_again: Call, tmp_path: Path) -> None:
    """The tiny model has room for one exemplar at most; what matters is that it is asked so."""
    asked = (
        "--base",
        "--benchmark",
        "tiny",
        "--limit",
        "6",
        "--max-completion-length",
        "12",
        "--out",
        "out",
    )
    drawn = ("--shots", "1", "--samples", "3", "--temperature", "0.9")
    done = eval_again(tmp_path, str(short_run[0]), *asked, *drawn)
    assert done.returncode == 0, done.stderr
    assert "pass@3" in done.stdout
    assert "maj@3" in done.stdout
    found = items(tmp_path / "out/tiny-base-1shot-first6-3x0.9")
    assert [(item["id"], item["sample"]) for item in found] == [
        (str(n), s) for n in range(1, 7) for s in range(3)
    ]
    assert all(
        item["prompt"].startswith("Question: ") and item["prompt"].endswith("Answer:")
        for item in found
    )
    none_fits = eval_again(tmp_path, str(short_run[0]), *asked, "--shots", "8")
    assert none_fits.returncode == 2
    assert "not one prompt fits" in none_fits.stderr


@pytest.mark.skipif(
    not (ROOT / "../shared/data/gsm8k").is_dir(),
    reason="the original GSM8K files are not in ../shared/data/gsm8k",
)
def test_the_whole_of_gsm8k_killed_in_the_middle_comes_out_the_same_to_the_byte(
    short_run: ShortRun, eval_again: Call, tmp_path: Path
) -> None:
    """All 1,319 problems with a model whose context takes them; it solves none. kill -9 in the
    middle, then the same command.
    """
    import shutil

    model = tmp_path / "model"
    shutil.copytree(short_run[0] / "base-model", model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2048}))
    asked = [
        "model",
        "--benchmark",
        "gsm8k",
        "--data",
        str(ROOT / "../shared/data"),
        "--max-completion-length",
        "8",
        "--batch-size",
        "32",
    ]
    done = eval_again(tmp_path, *asked, "--out", "whole")
    assert done.returncode == 0, done.stderr
    assert len(items(tmp_path / "whole/gsm8k")) == 1319

    command = [sys.executable, "-m", "eval", *asked, "--out", "killed"]
    partial = tmp_path / "killed/gsm8k/items.partial.jsonl"
    with subprocess.Popen(
        command, cwd=tmp_path, env=variables(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (
            partial.is_file() and partial.stat().st_size > 200_000
        ):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    kept = partial.read_bytes().count(b"\n")
    assert 0 < kept < 1319
    done = eval_again(tmp_path, *asked, "--out", "killed")
    assert done.returncode == 0, done.stderr
    assert f"continued, {kept:,} of 1,319 completions are there already" in done.stdout
    assert (tmp_path / "killed/gsm8k/items.jsonl").read_bytes() == (
        tmp_path / "whole/gsm8k/items.jsonl"
    ).read_bytes()
    assert not partial.exists()


def test_chat_answers_with_the_base_beside_the_tuned_model(
    short_run: ShortRun, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "onecard.chat", str(short_run[0])]
    question = items(short_run[0] / "eval/tiny-after")[0]["question"]
    lines = f"{question}\n{'word ' * 200}\n\nnot asked any more\n"
    done = subprocess.run(
        command,
        input=lines,
        cwd=tmp_path,
        env=variables(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("base \u2500") == done.stdout.count("tuned \u2500") == 1
    assert "<think>" in done.stdout
    assert "too long: " in done.stdout


def check_timed_methods() -> None:
    import trl

    # Unsloth's subclass sets up, its parent does the work.
    written = inspect.getsource(trl.GRPOTrainer.__mro__[1])
    step = written.partition("def _generate_and_score_completions(")[2].partition("    def ")[0]
    assert "self._generate(" in step
    assert "self._calculate_rewards(" in step
    assert "return prompt_ids, completion_ids," in inspect.getsource(trl.GRPOTrainer._generate)
    prepare = inspect.getsource(trl.GRPOTrainer._prepare_inputs)
    assert "self._generate_and_score_completions(" in prepare


def test_what_is_timed_of_a_step_is_what_unsloth_s_trainer_for_cuda_calls(
    with_unsloths_cuda_trainer: Call,
) -> None:
    """onecard/stages/trl/build.py times these two methods, and counts the tokens in the second of
    the things that _generate returns.
    """
    with_unsloths_cuda_trainer(check_timed_methods)


def check_loading_and_counters() -> None:
    import trl
    from transformers import Trainer

    ours = {
        "_load_from_checkpoint",
        "_load_optimizer_and_scheduler",
        "_load_scaler",
        "_load_rng_state",
    }
    for name in ours:
        assert hasattr(Trainer, name), name
    classes = [cls for cls in trl.GRPOTrainer.__mro__ if cls.__name__.endswith("GRPOTrainer")]
    source = "\n".join(inspect.getsource(cls) for cls in classes)
    overridden = {name for name in ours if f"def {name}(" in source}
    # TRL's keeps use_adaptive_entropy, which a recipe may not set.
    assert overridden <= {"_load_optimizer_and_scheduler"}, overridden
    assert "def _get_train_sampler(" in source
    assert "RepeatSampler(" in source
    used = ["self._step += 1", "self._metrics[mode]", "steps_per_generation * self.num_iterations"]
    tables = ("rewards", "completion", "prompt", "advantages")
    for text in [*used, *(f'self._logs["{table}"]' for table in tables)]:
        assert text in source, text


def test_what_checkpoints_and_skipped_steps_rely_on_is_in_unsloth_s_trainer_for_cuda(
    with_unsloths_cuda_trainer: Call,
) -> None:
    """Our subclass overrides transformers' ways of loading, which nothing between may override; and
    reads TRL's counters and tables.
    """
    with_unsloths_cuda_trainer(check_loading_and_counters)


def settings_on_a_card(recipe: Recipe, folder: Path) -> dict[str, Any]:
    from onecard.stages.trl.config import grpo_settings

    return grpo_settings(
        section_of(recipe),
        folder,
        seed=recipe.seed,
        reward_weights=[reward.weight for reward in recipe.rewards],
        vllm=recipe.model.fast_inference,
        cuda=True,
        precision="bf16",
    )


def check_kept_settings(folder: Path) -> None:
    import trl

    known = {field.name for field in dataclasses.fields(trl.GRPOConfig)}
    files = sorted((ROOT / "recipes").glob("*.yaml"))
    assert len(files) >= 9
    for file in files:
        settings = settings_on_a_card(load_recipe(file), folder)
        unknown = set(settings) - known
        assert not unknown, unknown
        # This machine has no card, and both look.
        settings |= {"bf16": False, "use_cpu": True, "dataloader_pin_memory": False}
        config = trl.GRPOConfig(**settings)
        for name, value in settings.items():
            kept = getattr(config, name)
            kept = getattr(kept, "value", kept)
            if name == "top_k" and kept == -1:
                kept = 0  # both say: no limit
            assert kept == ([] if value == "none" else value), (file, name, value, kept)


def test_every_setting_survives_in_the_config_that_unsloth_generates_for_cuda(
    with_unsloths_cuda_trainer: Call, tmp_path: Path
) -> None:
    """Unsloth's GRPOConfig has other defaults, and drops what it does not know."""
    with_unsloths_cuda_trainer(check_kept_settings, tmp_path)


def check_stated_settings(folder: Path) -> None:
    import trl

    def default(field: Any) -> Any:
        plain = field.default_factory is dataclasses.MISSING
        return field.default if plain else field.default_factory()

    generated = inspect.signature(trl.GRPOConfig.__init__).parameters
    both = [field for field in dataclasses.fields(stock["GRPOConfig"]) if field.name in generated]
    changed = {field.name for field in both if generated[field.name].default != default(field)}
    assert {"learning_rate", "vllm_importance_sampling_correction"} <= changed, changed
    stated = set(settings_on_a_card(load_recipe(ROOT / "recipes/gpu-smoke.yaml"), folder))
    # The trainer evaluates nothing, counts no input tokens ("no" and False), has no experts; no
    # keyword arguments and {} are the same.
    evaluation = {"per_device_eval_batch_size", "eval_accumulation_steps"}
    alike = {"include_num_input_tokens_seen", "router_aux_loss_coef", "generation_kwargs"}
    assert changed - stated <= evaluation | alike, changed - stated


def test_a_run_states_every_value_whose_default_unsloth_changes(
    with_unsloths_cuda_trainer: Call, tmp_path: Path
) -> None:
    """Unstated, one would mean another thing on a card: so vLLM's log-probabilities were compared
    with the trainer's on no card.
    """
    with_unsloths_cuda_trainer(check_stated_settings, tmp_path)


def check_scoring(folder: Path) -> None:
    import torch
    import trl

    from onecard.stages.trl.build import in_parts
    from onecard.stages.trl.config import build_grpo_config

    recipe = load_recipe(ROOT / "recipes/gpu-smoke.yaml")
    training: Any = SimpleNamespace(
        sections=recipe,
        model=recipe.model,
        seed_of=lambda _: recipe.seed,
        run=Run(folder, None),
        scorer=open_rewards(recipe),
    )
    config: Any = build_grpo_config(training, recipe.all_rounds[0])
    assert config.unsloth_grpo_mini_batch == 1
    scoring = inspect.getsource(trl.GRPOTrainer._get_per_token_logps_and_entropies)
    # One pass for all.
    assert "B = self.args.unsloth_grpo_mini_batch" in scoring
    assert "batch_size = math.ceil(total_samples / B)" in scoring
    assert "return logprobs.detach(), entropies, aux_loss" in scoring
    asked = []

    def score(model: Any, ids: torch.Tensor, mask: torch.Tensor, keep: int) -> Any:
        asked.append(ids[:, 0].tolist())
        # As wide as the completions and the longest padding before a prompt.
        width = keep + int((mask == 0).sum(1).max())
        return ids[:, :1].repeat(1, width), None, None

    ids, mask = torch.arange(1, 6).unsqueeze(1).repeat(1, 6), torch.ones(5, 6)
    mask[4, :2] = 0
    logps, *_ = in_parts(score, 2)(None, ids, mask, 3)
    assert asked == [[1, 2], [3, 4], [5]], asked
    assert logps.tolist() == [[0, 0, n, n, n] for n in range(1, 5)] + [[5] * 5], logps
    assert in_parts(score, 5)(None, ids, mask, 3)[0].shape == (5, 5)
    assert asked[-1] == [1, 2, 3, 4, 5]


def test_completions_are_scored_as_many_at_once_as_are_trained(
    with_unsloths_cuda_trainer: Call, tmp_path: Path
) -> None:
    """Else Unsloth fits their number to the free memory by a formula that leaves the MLP out:
    docs/memory.md.
    """
    with_unsloths_cuda_trainer(check_scoring, tmp_path)
