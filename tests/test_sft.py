"""SFT is a stage like GRPO: killed or told to stop in the middle, it goes on to the same bits."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, run_train

from onecard.files.formats import read_jsonl
from onecard.run.checkpoint import find_checkpoints, read_checkpoint

pytestmark = pytest.mark.e2e
STEPS = 30
QUICK = (
    "pilot=0",
    "eval.limit=8",
    "eval.benchmarks=[tiny]",
    "grpo.max_steps=2",
    "save.every_steps=4",
    "data.train_problems=200",  # so that the steps go over several epochs
)
ALL_WEIGHTS = (*QUICK, f"sft.max_steps={STEPS}", "sft.batch_size=16", "lora.dropout=0.1")


def adapter_only(model: Path) -> tuple[str, ...]:
    section = f"{{trains: adapter, max_steps: {STEPS}, batch_size: 16, learning_rate: 1e-3}}"
    return (*QUICK, f"model.name={model}", f"sft={section}", "lora.dropout=0.1")


def start(
    cwd: Path, name: str, settings: tuple[str, ...], harm: str, label: str = "sft", step: int = 10
) -> "subprocess.Popen[str]":
    """A run in a process of its own that does `harm` at the end of a step of a round."""
    code = f"""
import os, signal, sys, time
import onecard.model.load, train
from onecard.stages.trl.callback import GrpoSteps
from onecard.stages.trl.plain import PlainSteps
def harmful(kind):
    plain = kind.on_log
    def on_log(self, args, state, control, **others):
        plain(self, args, state, control, **others)
        if self.round.label == "{label}" and state.global_step == {step}:
            {harm}
    kind.on_log = on_log
harmful(GrpoSteps)
harmful(PlainSteps)
sys.argv[0] = "train.py"
sys.exit(train.main())
"""
    options = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-c", code, str(ROOT / "recipes/tiny.yaml"), *options]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, "--name", name],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def results(run: Path) -> list[bytes]:
    """What SFT and what GRPO trained."""
    trained = "base-model/model.safetensors"
    if not (run / trained).is_file():
        trained = "sft-adapter/adapter_model.safetensors"
    files = (trained, "adapter/adapter_model.safetensors")
    return [(run / file).read_bytes() for file in files]


@pytest.mark.fault("kill -9, and SIGTERM, in the middle of SFT", "the same weights to the bit")
@pytest.mark.parametrize("trains", ["all_weights", pytest.param("adapter", marks=pytest.mark.slow)])
def test_sft_goes_on_to_the_same_bits(
    short_run: tuple[Path, str], tmp_path: Path, trains: str
) -> None:
    settings: tuple[str, ...] = ALL_WEIGHTS
    if trains == "adapter":
        settings = adapter_only(short_run[0] / "base-model")
    whole = run_train(tmp_path, "tiny", *settings, name="whole")
    assert whole.returncode == 0, whole.stdout + whole.stderr

    killed = start(tmp_path, "killed", settings, "os.kill(os.getpid(), signal.SIGKILL)")
    assert killed.wait(timeout=300) == -signal.SIGKILL
    checkpoints = tmp_path / "runs/killed/checkpoints/sft"
    assert read_checkpoint(find_checkpoints(checkpoints)[0]).step == 8  # of save.every_steps

    told = start(tmp_path, "told", settings, "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)")
    printed, _ = told.communicate(timeout=300)
    assert told.returncode == 143, printed
    assert "SIGTERM: step 10 is kept; add --resume to the command to go on" in printed
    checkpoints = tmp_path / "runs/told/checkpoints/sft"
    assert read_checkpoint(find_checkpoints(checkpoints)[0]).step == 10

    for name, step in (("killed", 8), ("told", 10)):
        done = run_train(tmp_path, "tiny", *settings, name=name, extra=("--resume",))
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"after step {step} of SFT" in done.stdout
        assert results(tmp_path / "runs" / name) == results(tmp_path / "runs/whole")
        assert not (tmp_path / "runs" / name / "checkpoints/sft").exists()


def test_a_step_in_parts_is_the_same_step(tmp_path: Path) -> None:
    """The loss is the mean over the tokens of all parts, and not a mean of means."""
    settings = (*QUICK, "sft.max_steps=6", "sft.batch_size=16", "grpo.max_steps=1")
    logs = []
    for parts in (1, 4):
        more = (*settings, f"sft.gradient_accumulation_steps={parts}")
        done = run_train(tmp_path, "tiny", *more, name=f"parts-{parts}")
        assert done.returncode == 0, done.stdout + done.stderr
        logs.append(read_jsonl(tmp_path / f"runs/parts-{parts}/sft.jsonl"))
    for one, other in zip(*logs, strict=True):
        for key in ("loss", "grad_norm"):
            assert other[key] == pytest.approx(one[key], rel=1e-3), one["step"]
