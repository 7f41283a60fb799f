"""What happens to runs on hobby machines, brought about with the real packages: kills, signals,
full disks, broken numbers.

Every run here trains the warmed-up model of `short_run` for eight short steps, three steps an
epoch, and keeps every second step.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness import STEPS, Bench, until

from onecard.run.checkpoint import find_checkpoints, read_checkpoint

pytestmark = pytest.mark.e2e
TOKEN = "hf_" + "secret" * 5


@pytest.fixture(scope="module")
def bench(short_run: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("faults"), short_run[0] / "base-model")


@pytest.fixture(scope="module")
def whole(bench: Bench) -> tuple[bytes, list[dict[str, Any]]]:
    """The outcome of a run that nothing happened to. A token is in its environment, to be looked
    for afterwards.
    """
    done = bench.run("whole", environment={"HF_TOKEN": TOKEN})
    assert done.returncode == 0, done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return bench.outcome("whole")


@pytest.mark.fault(
    "HF_TOKEN in the environment", "it stands in no file of the run and in nothing that was printed"
)
@pytest.mark.usefixtures("whole")
def test_the_token_is_nowhere_in_the_run(bench: Bench) -> None:
    files = [file for file in bench.folder("whole").rglob("*") if file.is_file()]
    assert len(files) > 20
    best = json.loads((bench.folder("whole") / "results.json").read_text())["best_on_dev"]
    assert (
        bench.folder("whole") / best["adapter"] / "adapter_model.safetensors"
    ).is_file()  # kept, though others came after it
    assert [file for file in files if TOKEN.encode() in file.read_bytes()] == []


@pytest.mark.fault(
    "kill -9 in the middle of training",
    "resumed, it ends with the same adapter to the bit and the same metrics",
)
def test_a_killed_run_resumed_is_the_same_run(
    bench: Bench, whole: tuple[bytes, list[dict[str, Any]]]
) -> None:
    process = bench.start("killed")
    until(lambda: bench.step("killed") >= 4)  # in the second epoch
    process.kill()
    process.communicate()
    (bench.folder("killed") / "metrics.jsonl").open("a").write(
        '{"step": 99, "rew'
    )  # and the disk kept half a line
    done = bench.run("killed", resume=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"resuming runs/killed after step [246] of GRPO", done.stdout)
    assert bench.outcome("killed") == whole
    environment = json.loads((bench.folder("killed") / "environment.json").read_text())
    assert [resumption["step"] > 0 for resumption in environment["resumed"]] == [True]
    events = tensorboard(bench.folder("killed"))
    assert [event.step for event in events.Scalars("train/reward")] == list(
        range(1, STEPS + 1)
    )  # none twice
    again = bench.run("killed", resume=True)  # finished: nothing is trained or asked again
    assert again.returncode == 0, again.stdout + again.stderr
    assert "tiny after: evaluated already" in again.stdout
    assert bench.outcome("killed")[0] == whole[0]


def tensorboard(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(
        str(folder / "tensorboard"), size_guidance={"tensors": 0, "scalars": 0}
    ).Reload()


# At the third optimizer step the main thread goes into a call of torch that takes a minute or so,
# with Python's lock released.
LONG_CALL = """
import onecard.stages.trl.callback as c, torch
def stuck(self, args, state, control, **_):
    if state.global_step == 2:
        print("stuck", flush=True)
        big = torch.ones(9000, 9000)
        for _ in range(1): torch.linalg.matrix_power(big, 2**20)
c.GrpoSteps.on_pre_optimizer_step = stuck
sys.exit(train.main())
"""


@pytest.mark.fault(
    "SIGTERM in a long call of torch; a second run there",
    "the last whole step is kept within 10 s, exit code 143; the second refuses",
)
def test_sigterm_in_a_long_call_keeps_the_last_step(
    bench: Bench, whole: tuple[bytes, list[dict[str, Any]]]
) -> None:
    process = bench.start(
        "stuck", "save.every_steps=100", "eval.every_steps=100", code=f"exec({LONG_CALL!r})"
    )
    assert process.stdout is not None
    assert any(line.startswith("stuck") for line in process.stdout)
    second = bench.run("stuck", "save.every_steps=100", "eval.every_steps=100", resume=True)
    assert second.returncode == 2
    assert f"runs/stuck is in use by process {process.pid}" in second.stderr
    assert find_checkpoints(bench.checkpoints("stuck")) == []
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    told, _ = process.communicate(timeout=60)
    assert time.monotonic() - started < 10
    assert process.returncode == 143
    assert "SIGTERM: step 2 is kept; add --resume to the command to go on" in told
    assert read_checkpoint(find_checkpoints(bench.checkpoints("stuck"))[0]).step == 2
    done = bench.run("stuck", "save.every_steps=100", "eval.every_steps=100", resume=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench.outcome("stuck")[0] == whole[0]


NAN = """
import onecard.stages.trl.callback as c
plain = c.GrpoSteps.on_pre_optimizer_step
def broken(self, args, state, control, **_):
    if state.global_step in (2, 3):
        trained = [p for p in self.trainer.model.parameters() if p.grad is not None]
        trained[0].grad[0] = float("nan")
    plain(self, args, state, control)
c.GrpoSteps.on_pre_optimizer_step = broken
sys.exit(train.main())
"""


@pytest.mark.fault(
    "a gradient that is NaN", "the step is skipped and counted, the weights stay, the run goes on"
)
def test_a_nan_gradient_changes_nothing(bench: Bench) -> None:
    process = bench.start(
        "nan",
        "save.every_steps=100",
        "save.every_minutes=0.0005",
        "save.keep=20",
        code=f"exec({NAN!r})",
    )
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    weights = [adapter_of(bench.folder("nan"), step) for step in range(1, STEPS + 1)]
    assert weights[1] == weights[2] == weights[3]
    assert len(set(weights)) == STEPS - 2
    steps = [
        json.loads(line)
        for line in (bench.folder("nan") / "metrics.jsonl").read_text().splitlines()
        if '"reward"' in line
    ]
    assert [step["steps/skipped"] for step in steps] == [0, 0, 1, 2, 2, 2, 2, 2]


def adapter_of(folder: Path, step: int) -> bytes:
    return (
        folder / f"checkpoints/grpo/checkpoint-{step}/adapter/adapter_model.safetensors"
    ).read_bytes()


# The self-test asks the same rows as training, and would refuse these rewards. No model writes its
# texts.
UNTIL_TRAINING = """
from rewards.selftest import NOISE, WORKING


def pay(rollout):
    text = rollout.text
    if not text or NOISE[0] in text or WORKING[:40] in text:
        return float(rollout.problem.gold in text)
"""
PAY = {
    "all None": "return None",
    "all alike": "return 0.3 if rollout.tokens else 0.0",  # whose mean is another in 32 bit
    "infinite": "return float('inf')",
    "raising": "raise KeyError('boom')",
    "hanging": "import time; time.sleep(100)",
    "the wrong length": "return [1.0, 2.0]",
}


@pytest.mark.slow
@pytest.mark.fault(
    "rewards that are all None, all alike, infinite, that raise, hang or have the wrong length",
    "the weights stay, the training ends with advice",
)
@pytest.mark.parametrize("kind", PAY)
def test_rewards_without_a_signal_change_nothing_and_end_the_run(
    bench: Bench, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "pay.py").write_text(f"{UNTIL_TRAINING}    {PAY[kind]}\n")
    name = kind.replace(" ", "-")
    rewards = f"rewards=[{{name: custom, function: '{tmp_path}/pay.py:pay'}}]"
    limits = (
        "health.skipped_steps=3",
        "scoring.on_error=skip_group",
        "scoring.deadline_seconds=1",
        "save.every_steps=1",
        "pilot=0",
    )
    done = bench.run(name, rewards, *limits)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(
        r"alarm: skipped_steps, step 3: .* lower learning_rate, look at grad_norm", done.stdout
    )
    assert "training ends at step 3, as health.stop_on asks: skipped_steps" in done.stdout
    assert adapter_of(bench.folder(name), 2) == adapter_of(bench.folder(name), 3)
    steps = [
        json.loads(line)
        for line in (bench.folder(name) / "metrics.jsonl").read_text().splitlines()
        if '"reward"' in line
    ]
    assert [step["steps/skipped"] for step in steps] == [1, 2, 3]
    assert "Training ended here" in (bench.folder(name) / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.fault(
    "problems without any signal, at the pilot",
    "refused with numbers, on --resume too; pilot=0 trains",
)
def test_the_pilot_refuses_where_there_is_nothing_to_learn(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "pay.py").write_text("def pay(rollout):\n    return 0.0\n")
    rewards = f"rewards=[{{name: custom, function: '{tmp_path}/pay.py:pay'}}]"
    for resume in (False, True):
        done = bench.run("nothing", rewards, resume=resume)
        assert done.returncode == 1, done.stdout + done.stderr
        assert (
            "error: pilot: for each of 4 problems all completions got the same reward"
            in done.stderr
        )
        assert "0% of the groups have a signal" in done.stdout
    pilot = json.loads((bench.folder("nothing") / "pilot.json").read_text())
    assert (pilot["signal_share"], pilot["prompts"], pilot["num_generations"]) == (0, 4, 8)
    done = bench.run("nothing", rewards, "pilot=0", "health.skipped_steps=2", anyway=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "training ends at step 2, as health.stop_on asks: skipped_steps" in done.stdout
    report = (bench.folder("nothing") / "report.html").read_text()
    assert "Training ended here" in report
    assert "<h2>Pilot</h2>" in report
    again = bench.run(
        "nothing", rewards, "pilot=0", "health.skipped_steps=2", resume=True
    )  # what health ended stays ended
    assert again.returncode == 0, again.stdout + again.stderr
    assert "resuming runs/nothing after step 2 of GRPO" in again.stdout
    assert "tiny after: evaluated already" in again.stdout


CALM = """
def pay(prompts, completions, **columns):
    return [0.0] * len(completions)
"""
WILD = """
import sys

printed = []


def pay(prompts, completions, **columns):
    count = len(completions)
    if not printed:
        printed.append(1)
        sys.stdout.write("x" * 10**8)
    completions[0][0]["content"] = "changed"
    prompts.clear()
    columns["gold"][0] = "0"
    return [0.0] * count
"""


@pytest.mark.slow
@pytest.mark.fault(
    "rewards that print 100 MB, or change what they are given",
    "training is what it would have been",
)
def test_rewards_that_misbehave_quietly(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "calm.py").write_text(CALM)
    (tmp_path / "wild.py").write_text(WILD)
    found = []
    for name in ("calm", "wild"):
        rewards = (
            f"rewards=[{{name: custom, function: '{tmp_path}/{name}.py:pay'}}, {{name:"
            " correct_answer}, {name: think_format}]"
        )
        done = bench.run(name, rewards, "grpo.max_steps=3")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        found.append(bench.outcome(name))
    assert found[0] == found[1]


@pytest.mark.fault(
    "a disk that is full when a checkpoint is written (a limit on a file's size)",
    "one message, exit code 1, the checkpoint before is whole; resumed, the same adapter",
)
def test_a_full_disk_leaves_the_old_checkpoint(
    bench: Bench, whole: tuple[bytes, list[dict[str, Any]]]
) -> None:
    process = bench.start("full")
    until(lambda: bool(find_checkpoints(bench.checkpoints("full"))))
    process.kill()
    process.communicate()
    kept = read_checkpoint(find_checkpoints(bench.checkpoints("full"))[0]).step
    done = bench.run("full", resume=True, file_size_kib=400)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(
        r"error: cannot write: File too large.*Make room there, then add --resume to go on",
        done.stderr,
    )
    assert read_checkpoint(find_checkpoints(bench.checkpoints("full"))[0]).step == kept
    done = bench.run("full", resume=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench.outcome("full") == whole


@pytest.mark.fault(
    "a run folder that may not be written", "refused in one sentence with what to type"
)
@pytest.mark.usefixtures("whole")
def test_a_read_only_run_folder(bench: Bench) -> None:
    """Root may write anywhere, so as root the process gives that right up."""
    folder = shutil.copytree(bench.folder("whole"), bench.folder("read-only"))
    (folder / ".lock").unlink()
    folder.chmod(0o555)
    bound = (
        ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    )
    if bound and shutil.which("setpriv") is None:
        pytest.skip("setpriv, which gives up root's right to write anywhere, is not here")
    try:
        done = bench.run("read-only", resume=True, prefix=bound)
    finally:
        folder.chmod(0o755)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "cannot write to runs/read-only: Permission denied" in done.stderr
    assert "Traceback" not in done.stderr


WITH_CHILDREN = """
import multiprocessing, subprocess, time
started = []

def pay(rollout):
    if not started:
        started.append(subprocess.Popen(["sleep", "100"]))
        fork = multiprocessing.get_context("fork")
        started.append(fork.Process(target=time.sleep, args=(100,), daemon=True))
        started[1].start()
    return 0.0
"""
PHASES = {
    "import": "importing Unsloth",
    "SFT": "SFT   ",
    "evaluation before": "pilot: ",
    "training": "GRPO   ",
    "evaluation after": None,
}


@pytest.mark.slow
@pytest.mark.fault(
    "SIGTERM or SIGINT in each phase",
    "exit code 143 or 130 within 10 s, no process left, and resumed it ends well",
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("phase", PHASES)
def test_a_signal_in_each_phase(
    bench: Bench, tmp_path: Path, phase: str, number: signal.Signals
) -> None:
    name = f"{phase.replace(' ', '-')}-{number.name}"
    sft = (
        ("sft={trains: adapter, max_steps: 30, batch_size: 8, learning_rate: 1e-4}",)
        if phase == "SFT"
        else ()
    )
    (tmp_path / "pay.py").write_text(WITH_CHILDREN)
    rewards = (
        f"rewards=[{{name: custom, function: '{tmp_path}/pay.py:pay'}}, {{name: correct_answer}},"
        " {name: think_format}]"
    )
    process = bench.start(name, rewards, *sft)
    assert process.stdout is not None
    if text := PHASES[phase]:
        assert any(line.startswith(text) for line in process.stdout)
    else:
        until(lambda: (bench.folder(name) / "adapter").is_dir())
    time.sleep(random.Random(name).random())
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= (2 if phase in ("training", "evaluation after") else 0)
    process.send_signal(number)
    started = time.monotonic()
    told, _ = process.communicate(timeout=60)
    assert time.monotonic() - started < 10
    assert process.returncode == 128 + number, told
    assert number.name in told
    assert [
        child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    ] == []
    done = bench.run(name, rewards, *sft, resume=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench.step(name) == STEPS


SLEEPING = """
import time

def pay(rollout):
    if rollout.place >= 64:
        print("paying", flush=True)
        time.sleep(50)
    return 0.0
"""


@pytest.mark.slow
@pytest.mark.fault(
    "SIGTERM in the middle of a reward, and a second one",
    "the last whole step is kept within 10 s; the second ends the process at once",
)
@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_in_the_middle_of_a_reward(bench: Bench, tmp_path: Path, signals: int) -> None:
    (tmp_path / "pay.py").write_text(SLEEPING)
    rewards = (
        f"rewards=[{{name: custom, function: '{tmp_path}/pay.py:pay'}}, {{name: correct_answer}},"
        " {name: think_format}]"
    )
    process = bench.start(
        f"paying-{signals}", rewards, "save.every_steps=100", "eval.every_steps=100"
    )
    assert process.stdout is not None
    assert any(line.startswith("paying") for line in process.stdout)
    for _ in range(signals):
        process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    process.communicate(timeout=60)
    assert time.monotonic() - started < 10
    assert process.returncode == 143
    found = find_checkpoints(bench.checkpoints(f"paying-{signals}"))
    if signals == 1:
        assert read_checkpoint(found[0]).step == 2


@pytest.mark.slow
@pytest.mark.fault(
    "kill -9 where completions are used twice and gradients accumulate",
    "resumed, the same adapter and metrics",
)
def test_a_killed_run_that_uses_its_completions_twice(bench: Bench) -> None:
    """Checkpoints stand between generations: here only after every second step, whatever
    save.every_steps says.
    """
    twice = (
        "grpo.num_iterations=2",
        "grpo.per_device_train_batch_size=16",
        "grpo.gradient_accumulation_steps=2",
        "save.every_steps=1",
    )
    done = bench.run("twice-whole", *twice)
    assert done.returncode == 0, done.stdout + done.stderr
    process = bench.start("twice", *twice)
    until(lambda: bench.step("twice") >= 5)
    process.kill()
    process.communicate()
    kept = [read_checkpoint(folder).step for folder in find_checkpoints(bench.checkpoints("twice"))]
    assert all(step % 2 == 0 for step in kept)
    done = bench.run("twice", *twice, resume=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench.outcome("twice") == bench.outcome("twice-whole")


# What decides which problems are asked, and how they are answered.
CHOSEN = ("grpo.dynamic_sampling={choose: by_pass_rate}", "grpo.final_temperature=0.8")
# The process ends itself, as kill -9 would, at the Nth time that it puts something of a checkpoint
# on the disk.
AT_NTH_SYNC = """
import os, signal, onecard.files.atomic as d
plain, left = d.sync, [{count}]
def sync(place):
    if "checkpoint" in str(place):
        left[0] -= 1
        if not left[0]: os.kill(os.getpid(), signal.SIGKILL)
    plain(place)
d.sync = sync
sys.exit(train.main())
"""


@pytest.mark.slow
@pytest.mark.fault(
    "kill -9 at random moments of one run, half of them inside a save",
    "it ends with the same adapter to the bit and the same metrics",
)
@pytest.mark.parametrize(("settings", "kills"), [((), 20), (CHOSEN, 8)], ids=["plain", "chosen"])
def test_kills_at_random_moments(
    bench: Bench,
    settings: tuple[str, ...],
    kills: int,
    record_property: Callable[[str, object], None],
) -> None:
    name = "chosen" if settings else "plain"
    done = bench.run(f"{name}-whole", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    whole = bench.outcome(f"{name}-whole")
    chance, killed = random.Random(kills), 0
    while killed < kills:
        inside = killed % 2 == 0
        code = (
            f"exec({AT_NTH_SYNC.format(count=chance.randint(1, 30))!r})"
            if inside
            else "train.main()"
        )
        begun = bench.folder(name).is_dir()
        process = bench.start(name, *settings, resume=begun, code=code)
        try:
            told, _ = process.communicate(timeout=None if inside else chance.uniform(4, 16))
        except subprocess.TimeoutExpired:
            process.kill()
            told, _ = process.communicate()
        if (
            process.returncode == 0
        ):  # it came to its end first: begun anew, for there are kills left
            assert bench.outcome(name) == whole
            shutil.rmtree(bench.folder(name))
            continue
        assert process.returncode == -signal.SIGKILL, told
        killed += 1
    done = bench.run(name, *settings, resume=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench.outcome(name) == whole
    record_property("cases", killed)
