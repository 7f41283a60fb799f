"""A short run with the real packages: what it leaves behind is whole, agrees with itself, and can
be used again.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, ShortRun, no_sft, run_train

from onecard.files.formats import read_jsonl
from onecard.plan.fit import how_to_save
from onecard.recipe.file import load_recipe
from onecard.stages.grpo import section_of
from onecard.types import UserError

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def events(short_run: ShortRun) -> Any:
    return events_of(short_run[0])


def events_of(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(
        str(folder / "tensorboard"), size_guidance={"tensors": 0, "scalars": 0}
    ).Reload()


def texts(events: Any, tag: str) -> list[str]:
    return [
        event.tensor_proto.string_val[0].decode() for event in events.Tensors(f"{tag}/text_summary")
    ]


def test_plain_lines_tell_each_phase(short_run: ShortRun) -> None:
    lines = short_run[1].splitlines()
    for phase in ("SFT", "tiny before", "GRPO", "tiny after"):
        assert any(line.startswith(phase) for line in lines), phase
    assert any(re.match(r"GRPO +step 4/4  reward \S+  [\d.]+ s/step", line) for line in lines)
    assert "\x1b" not in short_run[1]
    assert any("tensorboard --logdir runs/tiny/tensorboard" in line for line in lines)
    assert any("report.html" in line for line in lines)


def test_what_the_libraries_say_is_in_a_file(short_run: ShortRun) -> None:
    folder, printed = short_run
    said = [line for line in printed.splitlines() if "nsloth" in line or "transformers" in line]
    assert said == ["importing Unsloth, TRL and torch, about 10 seconds"]
    assert "Unsloth" in (folder / "loading.log").read_text(encoding="utf-8")


def test_results_keep_the_contract(short_run: ShortRun) -> None:
    results = json.loads((short_run[0] / "results.json").read_text())
    assert set(results["benchmarks"]) == {"tiny", "tiny-shifted"}
    for benchmark in results["benchmarks"].values():
        assert benchmark["n"] == 48
        for when in ("before", "after"):
            assert {"accuracy", "stderr", "strict", "flexible", "no_answer", "truncated"} <= set(
                benchmark[when]
            )
        assert {"points", "ci_low", "ci_high", "p_value"} == set(benchmark["difference"])
        gain = 100 * (benchmark["after"]["accuracy"] - benchmark["before"]["accuracy"])
        assert benchmark["difference"]["points"] == pytest.approx(gain)
    assert results["seconds"]["total"] >= results["seconds"]["GRPO"] > 0
    assert results["training_problems"] == {"read": 600, "used": 600}


def test_items_are_the_numbers_of_the_results(short_run: ShortRun) -> None:
    results = json.loads((short_run[0] / "results.json").read_text())
    for name, benchmark in results["benchmarks"].items():
        before, after = (
            read_jsonl(short_run[0] / f"eval/{name}-{when}/items.jsonl")
            for when in ("before", "after")
        )
        assert [item["question"] for item in before] == [item["question"] for item in after]
        for when, items in (("before", before), ("after", after)):
            assert (
                benchmark[when]["accuracy"]
                == sum(item["verdict"] == "correct" for item in items) / 48
            )
            assert benchmark[when]["flexible"] == sum(item["flexible"] for item in items) / 48


def test_metrics_and_tensorboard_are_twins(short_run: ShortRun, events: Any) -> None:
    scalars = {
        (tag, event.step): event.value
        for tag in events.Tags()["scalars"]
        for event in events.Scalars(tag)
    }
    lines = read_jsonl(short_run[0] / "metrics.jsonl")
    seen = set()
    for line in lines:
        for key, value in line.items():
            if key == "step" or value is None:
                continue
            tag = key if (key, line["step"]) in scalars else f"train/{key}"
            assert scalars[tag, line["step"]] == pytest.approx(value, rel=1e-5), key
            seen.add((tag, line["step"]))
    assert seen == set(scalars)
    assert sorted(line["step"] for line in lines if "reward" in line) == [1, 2, 3, 4]


def test_the_seconds_of_every_step_are_split(short_run: ShortRun, events: Any) -> None:
    """Timed from a step's beginning to its optimizer's step; TRL's own step_time leaves out the
    optimizer.
    """
    steps = [line for line in read_jsonl(short_run[0] / "metrics.jsonl") if "reward" in line]
    total = 0.0
    for step in steps:
        parts = [step[f"time/{part}"] for part in ("generation", "reward", "training")]
        assert min(parts) > 0
        assert 0.95 * step["step_time"] <= sum(parts)
        sampled = step["completions/mean_length"] * 128
        assert step["time/tokens_per_second"] * step["time/generation"] == pytest.approx(
            sampled, rel=1e-4
        )
        total += sum(parts)
    assert total <= json.loads((short_run[0] / "results.json").read_text())["seconds"]["GRPO"]
    assert [event.step for event in events.Scalars("time/generation")] == [1, 2, 3, 4]
    for told in (short_run[1], (short_run[0] / "report.md").read_text(encoding="utf-8")):
        assert re.search(
            r"s per step, mean of 4: generation [\d.]+, reward [\d.]+, training [\d.]+; [\d,]+"
            r" tokens/s",
            told,
        )


def test_tensorboard_has_the_tags_that_people_look_for(events: Any) -> None:
    tags = set(events.Tags()["scalars"])
    assert {
        "train/reward",
        "train/kl",
        "train/loss",
        "train/completions/mean_length",
        "train/entropy",
    } <= tags  # TRL's own
    assert {
        "train/rewards/correct_answer/mean",
        "train/rewards/think_format/mean",
        "rewards/best",
        "rewards/worst",
    } <= tags
    assert {
        "objective/kl",
        "objective/entropy",
        "rewards/pass@G",
        "adapter/lora_b_norm",
        "memory/gib",
    } <= tags
    for benchmark in ("tiny", "tiny-shifted"):
        assert [event.step for event in events.Scalars(f"eval/{benchmark}/accuracy")] == [0, 4]
    best, worst, mean = (
        [e.value for e in events.Scalars(t)]
        for t in ("rewards/best", "rewards/worst", "train/reward")
    )
    assert all(b >= m >= w for b, m, w in zip(best, mean, worst, strict=True))


def test_what_trl_does_not_measure_is_measured(short_run: ShortRun) -> None:
    steps = [line for line in read_jsonl(short_run[0] / "metrics.jsonl") if "reward" in line]
    norms = [line["adapter/lora_b_norm"] for line in steps]
    assert norms[0] > 0  # the adapter begins at 0 and has taken its first step
    assert len(set(norms)) == 4
    for line in steps:
        assert line["objective/kl"] == line["kl"]
        assert line["objective/entropy"] == line["entropy"]
        assert 0.2 < line["memory/gib"] < 8  # torch alone is 0.2
        assert (
            line["rewards/correct_answer/mean"]
            <= line["rewards/pass@G"]
            <= min(1, 8 * line["rewards/correct_answer/mean"])
        )


def test_a_well_run_says_so(short_run: ShortRun) -> None:
    assert read_jsonl(short_run[0] / "health.jsonl") == []
    assert re.search(r"^health +no alarm$", short_run[1], re.MULTILINE)
    assert "No alarm." in (short_run[0] / "report.md").read_text(encoding="utf-8")


def test_tensorboard_has_the_recipe_and_completions_to_read(events: Any) -> None:
    assert "num_generations: 8" in texts(events, "recipe")[0]
    shown = texts(events, "completions")[0]
    assert re.search(r"    \w+ has \d+ \w+\..*How many", shown)
    assert re.search(r"correct_answer [01], think_format [01]; advantage [+-]\d\.\d\d", shown)


def test_report_is_one_file_with_pictures_and_the_caveat(short_run: ShortRun) -> None:
    page = (short_run[0] / "report.html").read_text(encoding="utf-8")
    for curve in ("reward", "accuracy", "length", "kl"):
        assert f'<div id="curve-{curve}"><svg' in page
        assert (short_run[0] / f"curves/{curve}.svg").stat().st_size > 2000
    assert not re.search(r"<(link|img|iframe)\b|\bsrc=|@import", page)  # nothing is fetched
    results = json.loads((short_run[0] / "results.json").read_text())["benchmarks"]["tiny"]
    for text in (page, (short_run[0] / "report.md").read_text(encoding="utf-8")):
        assert "engineered" in text
        assert f"{100 * results['before']['accuracy']:.1f} %" in text
        assert f"{results['difference']['points']:+.1f} points" in text


def test_checkpoints_are_where_the_recipe_says(short_run: ShortRun) -> None:
    checkpoints = short_run[0] / "checkpoints"
    assert sorted(folder.name for folder in checkpoints.glob("grpo/checkpoint-*")) == [
        "checkpoint-2",
        "checkpoint-4",
    ]
    # SFT is over, and what it trained is kept as the base model.
    assert [folder.name for folder in checkpoints.iterdir()] == ["grpo"]


def test_environment_and_resolved_recipe_are_kept(short_run: ShortRun) -> None:
    from onecard.recipe.file import load_recipe

    assert section_of(load_recipe(short_run[0] / "recipe.resolved.yaml")).max_steps == 4
    environment = json.loads((short_run[0] / "environment.json").read_text())
    assert environment["packages"]["trl"] == "1.15.0"


def test_the_saved_adapter_is_the_one_that_was_evaluated(short_run: ShortRun) -> None:
    """Base and adapter, loaded again with PEFT alone, write the completions that the evaluation
    recorded.
    """
    import unsloth  # isort: skip
    from peft import PeftModel
    from safetensors.torch import load_file

    from onecard.model.load import load_tokenizer
    from onecard.model.policy import Policy
    from onecard.types import Sampling

    folder, _ = short_run
    weights = load_file(folder / "adapter/adapter_model.safetensors")
    assert not any("ref" in name for name in weights)
    assert any(value.abs().max() > 0 for name, value in weights.items() if "lora_B" in name)
    base = str(folder / "base-model")
    model, _ = unsloth.FastLanguageModel.from_pretrained(
        base, max_seq_length=160, load_in_4bit=True
    )
    policy = Policy(
        # In the number format that it was evaluated in; PEFT's own choice is 32 bit.
        PeftModel.from_pretrained(model, str(folder / "adapter"), autocast_adapter_dtype=False),
        load_tokenizer(load_recipe("recipes/tiny.yaml").model, str(folder / "adapter")),
        base,
        context=160,
    )
    evaluated = [
        read_jsonl(folder / f"eval/{name}-after/items.jsonl") for name in ("tiny", "tiny-shifted")
    ]

    def agreement(batch_size: int) -> float:
        """The share of completions that are the recorded ones; each benchmark on its own."""
        same = 0
        for items in evaluated:
            texts = [item["prompt"] for item in items]
            prompts = policy.tokenizer(texts, add_special_tokens=False)["input_ids"]
            sampling = Sampling(max_completion_length=48, batch_size=batch_size)
            for batch in policy.generate(prompts, sampling):
                same += sum(items[i]["completion"] == one.text for i, one in batch.items())
        return same / sum(map(len, evaluated))

    # Not 1.0: an under-trained model has near ties, which bf16 sums of another batch shape may
    # turn.
    assert agreement(batch_size=128) >= 0.9
    # Sorting by length and padding on the left change no answer.
    assert agreement(batch_size=1) >= 0.9
    with policy.model.disable_adapter():  # the base answers otherwise: the adapter was on
        assert agreement(batch_size=128) <= 0.7


def test_every_setting_survives_in_the_stock_config(tmp_path: Path) -> None:
    from onecard.stages.trl.config import grpo_settings
    from onecard.stages.trl.fields import trl_fields
    import unsloth  # noqa: F401  isort: skip
    import dataclasses

    from trl import GRPOConfig

    from onecard.recipe.file import load_recipe

    assert trl_fields() == {field.name for field in dataclasses.fields(GRPOConfig)}
    for file in (ROOT / "recipes").glob("*.yaml"):
        recipe = load_recipe(file)
        settings = grpo_settings(
            section_of(recipe),
            tmp_path,
            seed=recipe.seed,
            reward_weights=[reward.weight for reward in recipe.rewards],
            vllm=recipe.model.fast_inference,
            cuda=False,
            precision="bf16",
        )
        config = GRPOConfig(**settings)
        for name, value in settings.items():
            if name == "optim" and "8bit" in value:
                # bitsandbytes' 8-bit optimizers have no CPU kernels: Unsloth's CPU back end says so
                # and swaps them
                continue
            kept = getattr(config, name)
            assert getattr(kept, "value", kept) in (value, [] if value == "none" else value), name


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (
            None,
            (
                "error: this model has no chat template, so it cannot be asked as training asks:"
                " use its instruct version"
            ),
        ),
        (
            (
                "{% if messages[0].role == 'system' %}{{ raise_exception('no system role here')"
                " }}{% endif %}{{ messages[0].content }}"
            ),
            "error: this model's chat template refuses the messages: no system role here",
        ),
    ],
)
def test_a_model_that_cannot_be_asked_is_refused_and_leaves_no_run(
    short_run: ShortRun, tmp_path: Path, template: str | None, told: str
) -> None:
    model = shutil.copytree(short_run[0] / "base-model", tmp_path / "model")
    (model / "chat_template.jinja").unlink()
    if template:
        (model / "chat_template.jinja").write_text(template)
    done = run_train(
        tmp_path, "tiny", f"model.name={model}", "sft=null", "data.system_prompt=Think."
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert told in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_model_on_disk_may_have_sft_of_its_adapter(short_run: ShortRun, tmp_path: Path) -> None:
    sft = "sft={trains: adapter, max_steps: 2, batch_size: 4, learning_rate: 1e-3}"
    settings = (
        f"model.name={short_run[0] / 'base-model'}",
        "grpo.max_steps=1",
        "eval.limit=8",
        "eval.benchmarks=[tiny]",
        sft,
    )
    done = run_train(tmp_path, "tiny", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "runs/tiny/adapter/adapter_model.safetensors").is_file()
    assert not (tmp_path / "runs/tiny/base-model").exists()


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (
            "{entropy_coef: high}",
            "grpo.extra.entropy_coef: Input should be a valid number",
        ),
        (
            "{dataloader_prefetch_factor: 2}",
            "grpo: TRL refuses these settings: --dataloader_prefetch_factor can only be set",
        ),
    ],
)
def test_what_trl_refuses_is_told_before_the_model_is_built(
    tmp_path: Path, extra: str, told: str
) -> None:
    done = run_train(tmp_path, "tiny", f"grpo.extra={extra}")
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []


def test_too_long_prompts_are_counted_aloud_and_too_few_refused(tmp_path: Path) -> None:
    done = run_train(tmp_path, "tiny", "data.max_prompt_length=10")
    assert done.returncode == 2
    assert "0 of 8000 training prompts are that short, but one step needs 16" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []


def test_gradient_checkpointing_gives_the_same_gradients(
    short_run: ShortRun, tmp_path: Path
) -> None:
    found = []
    for checkpointing in ("false", "true"):
        settings = (
            *no_sft(short_run),
            "grpo.max_steps=1",
            "rewards=[{name: random}]",
            f"grpo.gradient_checkpointing={checkpointing}",
        )
        done = run_train(tmp_path, "tiny", *settings, name=checkpointing)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = (tmp_path / "runs" / checkpointing / "metrics.jsonl").read_text().splitlines()
        (step,) = [row for row in map(json.loads, lines) if "grad_norm" in row]
        found.append(step)
    assert found[0]["reward"] == found[1]["reward"]  # of the same completions
    assert found[0]["grad_norm"] == pytest.approx(found[1]["grad_norm"], rel=0.05)


def test_a_recipe_of_many_rewards_trains_and_logs_each(short_run: ShortRun, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def pay(rollout):\n    return 0.0 if rollout.text else 5.0\n"
    )
    rewards = (
        "[{name: deepseek_r1}, {name: tag_count, weight: 0.25}, {name: custom, function:"
        f" '{tmp_path}/mine.py:pay'}}]"
    )
    settings = (*no_sft(short_run), "grpo.max_steps=2")
    done = run_train(tmp_path, "tiny", *settings, f"rewards={rewards}")
    assert done.returncode == 2  # pay() gives nothing 5, and the run says so before step 1
    assert "the empty completion earns 5, and a right answer 1.25: noise must" in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []
    (tmp_path / "mine.py").write_text(
        "def pay(rollout):\n    return None if rollout.truncated else 0.0\n"
    )
    done = run_train(tmp_path, "tiny", *settings, f"rewards={rewards}")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = read_jsonl(tmp_path / "runs/tiny/metrics.jsonl")
    steps = [line for line in lines if "reward" in line]
    for label in (
        "correct_answer",
        "reasoning_steps",
        "logical_flow",
        "self_verification",
        "tag_count",
        "pay",
    ):
        assert all(f"rewards/{label}/mean" in step for step in steps)
    assert all(step["rewards/faults"] == 0 for step in steps)


def test_a_reward_that_raises_ends_the_run_with_its_name(
    short_run: ShortRun, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        "calls = []\n\n"
        "def pay(rollout):\n"
        "    calls.append(rollout)\n"
        "    return 0.0 if len(calls) <= 24 else 1 / 0  # the self-test's pass\n"
    )
    rewards = f"[{{name: correct_answer}}, {{name: custom, function: '{tmp_path}/mine.py:pay'}}]"
    settings = (*no_sft(short_run), "grpo.max_steps=1")
    done = run_train(tmp_path, "tiny", *settings, f"rewards={rewards}")
    assert done.returncode == 1
    assert re.search(
        r"reward pay failed on problem \d+, row 0 of the batch: ZeroDivisionError", done.stderr
    )
    skipped = run_train(
        tmp_path,
        "tiny",
        *settings,
        f"rewards={rewards}",
        "scoring.on_error=skip_group",
        name="skip",
    )
    assert skipped.returncode == 0, skipped.stderr
    step = next(
        line for line in read_jsonl(tmp_path / "runs/skip/metrics.jsonl") if "reward" in line
    )
    assert step["rewards/faults"] == 128
    assert step["grad_norm"] < 1e-6


def test_evaluation_during_training_changes_nothing(short_run: ShortRun, tmp_path: Path) -> None:
    """The same run with and without eval.every_steps, and without the worst case tried before step
    1: the same metrics at every step, and the same adapter to the last bit."""
    settings = (*no_sft(short_run), "grpo.max_steps=2")
    untried = (
        "import onecard.model.load, onecard.stages.trl.callback as c, train;"
        " c.try_largest_step = lambda *_: None; train.main()"
    )
    for name, extra in (("without", ()), ("with", ("eval.every_steps=1", "eval.dev_problems=16"))):
        done = run_train(tmp_path, "tiny", *settings, *extra, name=name)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "could not be tried" not in done.stdout
    done = run_train(tmp_path, "tiny", *settings, name="untried", python=("-c", untried))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {
        name: read_jsonl(tmp_path / f"runs/{name}/metrics.jsonl")
        for name in ("without", "with", "untried")
    }
    curves = {
        name: [
            {k: v for k, v in line.items() if not k.startswith(("step_time", "time/", "memory/"))}
            for line in found
            if "reward" in line
        ]
        for name, found in lines.items()
    }
    assert len(curves["with"]) == 2
    assert curves["with"] == curves["without"] == curves["untried"]
    adapters = {
        (tmp_path / f"runs/{name}/adapter/adapter_model.safetensors").read_bytes()
        for name in ("without", "with", "untried")
    }
    assert len(adapters) == 1
    dev = [
        (line["step"], line["eval/tiny-dev/accuracy"])
        for line in lines["with"]
        if "eval/tiny-dev/accuracy" in line
    ]
    assert [step for step, _ in dev] == [0, 1, 2]
    items = read_jsonl(tmp_path / "runs/with/eval/tiny-dev-step-2/items.jsonl")
    assert dev[-1][1] == sum(item["verdict"] == "correct" for item in items) / 16


def test_a_hopeless_run_ends_early_with_its_report(short_run: ShortRun, tmp_path: Path) -> None:
    """KL is 0 in step 1, where the adapter is new, and more after it."""
    health = "health={stop_on: [kl], kl_warn: 1e-9, kl_alarm: 1e-8}"
    done = run_train(tmp_path, "tiny", *no_sft(short_run), "grpo.max_steps=6", health)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "runs/tiny"
    lines = read_jsonl(folder / "metrics.jsonl")
    assert [line["step"] for line in lines if "reward" in line] == [1, 2]
    assert [line["step"] for line in lines if "eval/tiny/accuracy" in line] == [0, 2]
    (alarm,) = [line for line in read_jsonl(folder / "health.jsonl") if line["name"] == "kl"]
    assert (alarm["step"], alarm["level"], alarm["stopped"]) == (2, "alarm", True)
    kls = [line["kl"] for line in lines if "reward" in line]
    assert kls[1] > kls[0]
    assert alarm["value"] == sum(kls) / 2 > alarm["limit"] == 1e-8
    assert alarm["text"] in done.stdout
    assert "training ends at step 2, as health.stop_on asks: kl" in done.stdout
    for name in ("report.html", "report.md"):
        assert "Training ended here" in (folder / name).read_text(encoding="utf-8")
    assert (folder / "adapter/adapter_model.safetensors").is_file()
    assert alarm["text"] in texts(events_of(folder), "health")[0]


def test_sigterm_ends_a_run_with_143(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), str(ROOT / "recipes/tiny.yaml")]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        # In the middle of a phase.
        assert any(line.startswith("SFT") for line in process.stdout)
        process.terminate()
        assert process.wait(timeout=30) == 143


def test_memory_that_does_not_hold_the_largest_step_is_told_before_step_1(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A real allocation fails: the process may have 16 GiB of addresses, and the completions are
    allowed 400,000 tokens.
    """
    longest = ("model.max_seq_length=400200", "grpo.max_completion_length=400000")
    done = run_train(
        tmp_path, "tiny", *no_sft(short_run), *longest, "grpo.max_steps=1", address_space_gib=16
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert (
        "memory does not hold this recipe's largest step: 128 completions of 400000 tokens after"
        " prompts of 112" in done.stderr
    )
    assert "To save memory: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_card_that_does_not_hold_model_and_engine_is_told_with_advice() -> None:
    """As Unsloth raises it where vLLM finds no room; other errors stay what they are."""
    from onecard.model.load import explain_out_of_memory

    recipe = load_recipe(ROOT / "recipes/gsm8k-qwen2.5-7b.yaml")
    name, advice = recipe.model.name, how_to_save(recipe)
    told = (
        r"out of memory while loading .*7B.*: Unsloth: Your GPU ran out of memory .* To save"
        r" memory: --set "
    )
    with pytest.raises(UserError, match=told), explain_out_of_memory(name, advice):
        raise MemoryError(
            "Unsloth: Your GPU ran out of memory loading vLLM.\nTry one of these fixes"
        )
    with (
        pytest.raises(RuntimeError, match="illegal memory access"),
        explain_out_of_memory(name, advice),
    ):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_whoever_refuses_a_run_before_its_first_metric_no_folder_is_left(
    short_run: ShortRun, tmp_path: Path
) -> None:
    shutil.copytree(short_run[0] / "base-model", tmp_path / "broken")
    (tmp_path / "broken/tokenizer.json").write_text("{}")
    done = run_train(tmp_path, "tiny", *no_sft(short_run), f"model.name={tmp_path / 'broken'}")
    assert done.returncode == 1
    assert "Traceback" in done.stderr  # from a library, and not from us
    assert not (tmp_path / "runs/tiny").exists()
