"""One run by two processes, on a CPU: torchrun starts them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, ShortRun, no_sft, run_train, variables
from safetensors import torch as safetensors

from onecard.console.command import run_command
from onecard.files.formats import read_jsonl
from onecard.machine.precision import choose_precision
from onecard.recipe.file import load_recipe
from onecard.run.checkpoint import new_checkpoint, newest_checkpoint
from onecard.stages.processes import check_processes
from onecard.types import RunFailed, UserError

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
WEIGHTS = "adapter/adapter_model.safetensors"
DPO = "dpo={pairs: a.jsonl, max_steps: 8, per_device_train_batch_size: 8, learning_rate: 1e-4}"
# Writes the completions of each step to a file, one for each process; where REPLAY is set, it takes
# those that two processes have written, as one process asks for them.
RECORDER = """
import json, os, sys
from pathlib import Path

sys.argv = sys.argv[1:]
sys.path.insert(0, ROOT)
import onecard.model.load
from onecard.run.process import rank
from onecard.stages.trl.grpo_trainer import OnecardGrpoTrainer

files = [Path(f"recorded-{number}.jsonl") for number in (0, 1)]
sample = OnecardGrpoTrainer._generate_single_turn
asked = 0

def recorded(self, *arguments, **named):
    global asked
    asked += 1
    if "REPLAY" in os.environ:
        lines = [file.read_text().splitlines()[asked - 1] for file in files]
        return [ids for line in lines for ids in json.loads(line)], None
    completions, more = sample(self, *arguments, **named)
    with files[rank()].open("a") as file:
        file.write(json.dumps(completions) + "\\n")
    return completions, more

OnecardGrpoTrainer._generate_single_turn = recorded
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.unit
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["grpo.dynamic_sampling={}"], "grpo.dynamic_sampling"),
        (["grpo.credit=accepted"], "grpo.credit accepted"),
        ([DPO], "the stage dpo"),
    ],
)
def test_what_one_process_alone_can_do_is_refused(
    settings: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(ROOT / "recipes/tiny.yaml", settings)
    check_processes(recipe, recipe.rewards, fast_inference=False)
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    with pytest.raises(UserError, match=f"{said} works in one process alone, and 2 were started"):
        check_processes(recipe, recipe.rewards, fast_inference=False)
    with pytest.raises(UserError, match=r"set model\.fast_inference=false"):
        plain = load_recipe(ROOT / "recipes/tiny.yaml")
        check_processes(plain, plain.rewards, fast_inference=True)


@pytest.mark.unit
def test_what_one_process_alone_meets_is_told_by_it(capsys: pytest.CaptureFixture[str]) -> None:
    def end_with(error: Exception) -> Callable[[], int]:
        def body() -> int:
            raise error

        return body

    assert run_command(end_with(UserError("all meet it")), process=1) == 2
    assert run_command(end_with(RunFailed("a reward failed")), process=1) == 1
    assert capsys.readouterr().err == "process 1: error: a reward failed\n"
    assert run_command(end_with(UserError("all meet it"))) == 2
    assert capsys.readouterr().err == "error: all meet it\n"


@pytest.mark.unit
def test_a_damaged_checkpoint_is_put_aside_by_the_first_process_alone(tmp_path: Path) -> None:
    for step in (1, 2):
        with new_checkpoint(tmp_path, step, {}) as folder:
            (folder / "weights").write_text("some")
    (tmp_path / "checkpoint-2/weights").write_text("other")
    for first in (False, True, False):
        found = newest_checkpoint(tmp_path, lambda _: None, first=first)
        assert found is not None
        assert found.step == 1
    assert (tmp_path / "checkpoint-2.damaged/weights").read_text() == "other"


def settings_of(short_run: ShortRun) -> tuple[str, ...]:
    more = ("grpo.per_device_train_batch_size=16", "grpo.max_steps=3", "save.every_steps=1")
    return (*no_sft(short_run), "eval.batch_size=4", "grpo.beta=0", *more)


@pytest.fixture(scope="module")
def whole(short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of two processes, in runs/whole, and what was printed; its completions are recorded."""
    cwd = tmp_path_factory.mktemp("processes")
    script = cwd / "recorder.py"
    script.write_text(RECORDER.replace("ROOT", repr(str(ROOT))), encoding="utf-8")
    python = (*TORCHRUN, str(script), str(ROOT / "train.py"))
    done = run_train(cwd, "tiny", *settings_of(short_run), name="whole", python=python)
    assert done.returncode == 0, done.stdout + done.stderr
    return cwd, done.stdout


@pytest.mark.e2e
def test_two_processes_write_one_account_of_a_run(whole: tuple[Path, str]) -> None:
    cwd, printed = whole
    assert printed.count("GRPO                 step 1/3") == 1
    lines = read_jsonl(cwd / "runs/whole/metrics.jsonl")
    steps = [line for line in lines if "reward" in line]
    assert [line["step"] for line in steps] == [1, 2, 3]
    # 16 completions each, so two groups each: all four are counted.
    assert all((4 * line["rewards/signal_share"]).is_integer() for line in steps)
    newest = json.loads((cwd / "runs/whole/completions.json").read_text(encoding="utf-8"))
    assert newest["step"] == 3
    items = read_jsonl(cwd / "runs/whole/eval/tiny-after/items.jsonl")
    assert len({item["id"] for item in items}) == len(items) == 8


@pytest.mark.e2e
def test_two_processes_that_were_killed_go_on_to_the_bit(
    whole: tuple[Path, str], short_run: ShortRun
) -> None:
    cwd, settings = whole[0], settings_of(short_run)
    python = (*TORCHRUN, str(ROOT / "train.py"))
    command = [sys.executable, *python, str(ROOT / "recipes/tiny.yaml"), "--name", "killed"]
    command += [part for setting in settings for part in ("--set", setting)]
    with (cwd / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=cwd, env=variables(), stdout=log, stderr=log)
        kept = cwd / "runs/killed/checkpoints/grpo/checkpoint-1/manifest.json"
        deadline = time.monotonic() + 300
        while not kept.is_file():
            assert time.monotonic() < deadline
            assert process.poll() is None, (cwd / "log").read_text()
            time.sleep(0.05)
        started = psutil.Process(process.pid)
        for one in (started, *started.children(recursive=True)):
            one.kill()
        process.wait(timeout=60)
    alone = run_train(cwd, "tiny", *settings, name="killed", extra=("--resume",))
    assert alone.returncode == 2
    assert "was trained by 2 processes, and this run has 1" in alone.stderr
    again = run_train(cwd, "tiny", *settings, name="killed", python=python, extra=("--resume",))
    assert again.returncode == 0, again.stdout + again.stderr
    one, other = (cwd / "runs" / name / WEIGHTS for name in ("whole", "killed"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.e2e
def test_two_processes_train_as_one_does_on_as_many_completions(
    whole: tuple[Path, str], short_run: ShortRun
) -> None:
    """On the same completions, which processes draw by seeds of their own."""
    cwd = whole[0]
    settings = (*settings_of(short_run), "grpo.gradient_accumulation_steps=2")
    python = (str(cwd / "recorder.py"), str(ROOT / "train.py"))
    replay = {"REPLAY": "1"}
    done = run_train(cwd, "tiny", *settings, name="one", python=python, environment=replay)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = [cwd / "runs" / name for name in ("whole", "one")]
    lines = [read_jsonl(run / "metrics.jsonl") for run in runs]
    for metric in ("reward", "loss"):
        by_two, by_one = ([line[metric] for line in one if metric in line] for one in lines)
        assert by_two == pytest.approx(by_one, abs=1e-6)
    two, one = (safetensors.load_file(run / WEIGHTS) for run in runs)
    rounding = 0.2 if choose_precision([]) == "bf16" else 0.05
    for name in (name for name in one if "lora_B" in name):  # they begin at 0: all is movement
        # Adam makes a whole step also of a gradient that is nothing but rounding.
        assert one[name].norm() > 0
        assert (two[name] - one[name]).norm() < rounding * one[name].norm(), name
