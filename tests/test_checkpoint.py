"""Checkpoints on the disk, without torch, and what a run goes on from.

They are whole or not there, and believed only if every byte is as written; folders are locked.
"""

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eval.record import open_record
from onecard.console.display import Display
from onecard.files.atomic import UNFINISHED, atomic_folder, write_atomic
from onecard.files.disk_errors import disk_trouble
from onecard.recipe.file import load_recipe
from onecard.run.checkpoint import (
    DAMAGED,
    MANIFEST,
    Checkpoint,
    Damaged,
    find_checkpoints,
    hash_of,
    new_checkpoint,
    newest_checkpoint,
    prune,
    read_checkpoint,
)
from onecard.run.folder import Run, open_run
from onecard.run.forget import forget_after
from onecard.run.journal import Journal
from onecard.run.keeper import Keeper
from onecard.run.lock import lock_folder
from onecard.run.process import wait_for
from onecard.run.resume import origin_of, resume_run
from onecard.run.resumed import Resumed
from onecard.run.round import Round
from onecard.run.section import Save
from onecard.types import UserError

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent
DATA = {"count": 1, "sha256": "0" * 64}


def write(root: Path, step: int, **origin: Any) -> Path:
    with new_checkpoint(root, step, origin) as folder:
        (folder / "adapter").mkdir()
        (folder / "adapter/weights").write_bytes(bytes(range(100)))
        (folder / "state.json").write_text(f'{{"step": {step}}}')
        (folder / "metrics.jsonl").write_text(f'{{"step": {step}}}\n')
    return root / f"checkpoint-{step}"


FILES = ("adapter/weights", "state.json", "metrics.jsonl", MANIFEST)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "flipped": flip,
    "truncated": truncate,
    "removed": Path.unlink,
    "emptied": empty,
}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(write(tmp_path, 7, recipe={"name": "x"}, beta=0.1))
    assert (checkpoint.step, checkpoint.origin) == (7, {"recipe": {"name": "x"}, "beta": 0.1})


@pytest.mark.fault(
    "a file of the newest checkpoint flipped, cut, emptied or removed",
    "noticed and told; the one before is used",
)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_each_file_damaged_in_turn_is_noticed_and_the_one_before_used(
    tmp_path: Path, name: str, damage: str
) -> None:
    write(tmp_path, 2)
    newest = write(tmp_path, 4)
    DAMAGES[damage](newest / name)
    with pytest.raises(Damaged, match=name.replace(".", r"\.")):
        read_checkpoint(newest)
    told: list[str] = []
    found = newest_checkpoint(tmp_path, told.append)
    assert found is not None
    assert found.step == 2
    assert len(told) == 1
    assert "checkpoint-4 is damaged" in told[0]
    assert (tmp_path / f"checkpoint-4{DAMAGED}").is_dir()  # put aside, not thrown away
    assert find_checkpoints(tmp_path) == [tmp_path / "checkpoint-2"]


def test_every_byte_of_the_manifest_counts(tmp_path: Path) -> None:
    """Any one byte changed is noticed, unless what it says is the same: white space."""
    folder = write(tmp_path, 2, recipe={"seed": 1})
    good = (folder / MANIFEST).read_bytes()
    for place, byte in enumerate(good):
        changed = bytearray(good)
        changed[place] = ord("7") if byte != ord("7") else ord("8")
        (folder / MANIFEST).write_bytes(changed)
        try:
            read_checkpoint(folder)
        except Damaged:
            continue
        assert json.loads(changed) == json.loads(good)


def test_none_that_verifies_is_none(tmp_path: Path) -> None:
    for step in (2, 4):
        flip(write(tmp_path, step) / "state.json")
    told: list[str] = []
    assert newest_checkpoint(tmp_path, told.append) is None
    assert len(told) == 2


@pytest.mark.fault(
    "an error while a checkpoint is written", "nothing of it is left, the one before is whole"
)
def test_a_failure_while_writing_leaves_nothing_and_harms_nothing(tmp_path: Path) -> None:
    before = write(tmp_path, 2)
    with pytest.raises(OSError, match="disk full"), new_checkpoint(tmp_path, 4, {}) as folder:
        (folder / "half").write_text("half")
        raise OSError(28, "disk full")
    assert list(tmp_path.iterdir()) == [before]
    read_checkpoint(before)


def test_pruning_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    for step in (2, 4, 6, 8, 10):
        write(tmp_path, step)
    (tmp_path / f"checkpoint-12{UNFINISHED}").mkdir()
    prune(tmp_path, keep=2, best=4)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [
        "checkpoint-10",
        "checkpoint-4",
        "checkpoint-8",
    ]


def kill_in_the_middle(folder: Path) -> None:
    with atomic_folder(folder) as unfinished:
        (unfinished / "file").write_text("x")
        os._exit(9)


@pytest.mark.fault(
    "kill -9 while a folder is written",
    "no folder of that name; what is left half-written is cleared away",
)
def test_a_kill_in_the_middle_leaves_no_folder_of_that_name(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=kill_in_the_middle, args=(tmp_path / "whole",)
    )
    process.start()
    process.join()
    assert process.exitcode == 9
    assert [place.name for place in tmp_path.iterdir()] == [f"whole{UNFINISHED}"]
    with atomic_folder(tmp_path / "whole") as unfinished:
        assert list(unfinished.iterdir()) == []  # what the killed one left is gone
    assert [place.name for place in tmp_path.iterdir()] == ["whole"]


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_atomic(file, "one")
    reader = file.open()
    write_atomic(file, "two")
    assert reader.read() == "one"
    assert file.read_text() == "two"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device", "runs/x"), "No space left on device: runs/x"),
        (
            OSError(13, "Permission denied", "runs/x/metrics.jsonl"),
            "Permission denied: runs/x/metrics.jsonl",
        ),
        (OSError(13, "Permission denied", "/dev/nvidia0"), None),
        (OSError(5, "Input/output error"), None),
        (RuntimeError("nvcc failed with return code: 1, see log"), None),
        (RuntimeError("exit code: 28, kind"), None),
        (OSError(27, "File too large"), "File too large"),
        (
            RuntimeError("I/O error: No space left on device (os error 28)"),
            "No space left on device",
        ),
        (
            RuntimeError('IoError(Os { code: 30, kind: ReadOnlyFilesystem, message: "x" })'),
            "Read-only file system",
        ),
        (RuntimeError("step 28"), None),
        (FileNotFoundError(2, "No such file"), None),
    ],
)
def test_what_is_the_disk_s_fault_is_known(error: Exception, told: str | None) -> None:
    assert disk_trouble(error, Path("runs")) == told


def locks_too(folder: Path) -> None:
    try:
        lock_folder(folder)
    except UserError as error:
        os._exit(3 if "in use by process" in str(error) else 4)
    os._exit(0)


@pytest.mark.fault(
    "two processes at one run folder", "the second refuses, and says which process holds it"
)
def test_a_folder_is_held_by_one_process(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path)

    def outcome() -> int | None:
        process = multiprocessing.get_context("spawn").Process(target=locks_too, args=(tmp_path,))
        process.start()
        process.join()
        return process.exitcode

    assert outcome() == 3
    lock.close()
    assert outcome() == 0


def tiny(*settings: str) -> dict[str, Any]:
    """The tiny recipe as a run folder has it."""
    return load_recipe(ROOT / "recipes/tiny.yaml", list(settings)).resolved()


def let_go(run: Run) -> Run:
    assert run.lock is not None
    run.lock.close()
    return run


SFT = Round("sft", 1, 1, 400, of_last_stage=False)
GRPO = Round("grpo", 1, 1, 80, of_last_stage=True)


def started(root: Path) -> Run:
    return let_go(open_run(root, "tiny", tiny()))


def resume(
    root: Path, *settings: str, anyway: bool = False, data: Any = None, say: Any = None
) -> tuple[Run, Any]:
    recipe = load_recipe(ROOT / "recipes/tiny.yaml", list(settings))
    origin = origin_of(recipe.resolved(), data or DATA)
    say = say or (lambda _: None)
    found = resume_run(root / "tiny", origin, recipe.all_rounds, anyway, say)
    return let_go(found.run), found.checkpoint


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--resume: there is no run in .*tiny; leave --resume out"):
        resume(tmp_path)
    started(tmp_path)
    with pytest.raises(
        UserError,
        match=r"exists already: add --resume to go on with that run, --name NAME to begin another",
    ):
        started(tmp_path)
    assert resume(tmp_path)[1] is None  # no step was kept


@pytest.mark.fault("a changed recipe on --resume", "refused with the list of what differs")
def test_a_changed_recipe_is_refused_with_the_list_of_what_differs(tmp_path: Path) -> None:
    started(tmp_path)
    with pytest.raises(UserError) as caught:
        resume(tmp_path, "grpo.beta=0.5", "seed=3", "save.keep=5", anyway=True)
    assert "seed: 0 and 3" in str(caught.value)
    assert "grpo.beta: 0.001 and 0.5" in str(caught.value)
    assert "save.keep" not in str(caught.value)  # that alone would not matter
    with pytest.raises(
        UserError, match=r"save\.keep: 2 and 5; --resume-anyway goes on with these changes"
    ):
        resume(tmp_path, "save.keep=5")
    run, _ = resume(tmp_path, "save.keep=5", anyway=True)
    assert load_recipe(run.recipe).save.keep == 5
    resume(tmp_path, "save.keep=5")  # it is the run's recipe now
    with pytest.raises(UserError, match="begin another run with --name"):
        resume(tmp_path, "save.keep=5", "model.max_seq_length=200")


@pytest.mark.fault("other training problems, other packages on --resume", "refused; told")
def test_other_data_is_refused_and_other_packages_are_told(tmp_path: Path) -> None:
    run = started(tmp_path)
    facts = origin_of(tiny(), DATA) | {"ended_early": False}
    write(run.checkpoints("grpo"), 2, **facts | {"versions": facts["versions"] | {"torch": "1.0"}})
    with pytest.raises(UserError, match=r"training problems are not those .* count: 1 and 2"):
        resume(tmp_path, data=DATA | {"count": 2})
    told: list[str] = []
    assert resume(tmp_path, say=told.append)[1].step == 2
    assert "other packages than before" in told[0]
    assert "torch: '1.0' and" in told[0]


@pytest.mark.fault("--resume of a training that is over", "nothing more is trained")
def test_what_was_the_last_step_stays_the_last(tmp_path: Path) -> None:
    """Of a training that health ended, too, unless health is to look at it otherwise."""
    run = started(tmp_path)
    facts = origin_of(tiny(), DATA)
    write(run.checkpoints("grpo"), 40, **facts, ended_early=False)
    assert resume(tmp_path)[1].last is False
    write(run.checkpoints("grpo"), 60, **facts, ended_early=True)
    assert resume(tmp_path)[1].last is True
    assert resume(tmp_path, "health.stop_on=[]", anyway=True)[1].last is False
    told: list[str] = []
    assert (
        resume(tmp_path, "health.stop_on=[]", "grpo.max_steps=60", anyway=True, say=told.append)[
            1
        ].last
        is True
    )
    assert told == [
        "grpo.max_steps was 80; the learning rate goes on as if it had been 60 from the start"
    ]


@pytest.mark.parametrize("trouble", ["unreadable", "of another version"])
def test_a_checkpoint_that_cannot_be_read_is_not_called_damaged(
    tmp_path: Path, trouble: str
) -> None:
    folder = write(tmp_path, 2)
    if trouble == "unreadable":
        (folder / MANIFEST).unlink()
        (folder / MANIFEST).symlink_to(MANIFEST)  # reading it fails, for root too
    else:
        manifest = json.loads((folder / MANIFEST).read_text()) | {"format": 1}
        manifest.pop("sha256")
        (folder / MANIFEST).write_text(json.dumps(manifest | {"sha256": hash_of(manifest)}))
    with pytest.raises(
        UserError,
        match=(
            "cannot be read"
            if trouble == "unreadable"
            else "has format 1, and this version reads 4"
        ),
    ):
        newest_checkpoint(tmp_path, lambda _: None)
    assert folder.is_dir()


@pytest.mark.fault(
    "every checkpoint damaged", "refused with what to type, never begun anew silently"
)
@pytest.mark.parametrize("stage", ["grpo", "sft"])
def test_a_run_whose_every_checkpoint_is_damaged_does_not_begin_anew_by_itself(
    tmp_path: Path, stage: str
) -> None:
    run = started(tmp_path)
    flip(write(run.checkpoints(stage), 2, **origin_of(tiny(), DATA)) / "state.json")
    for _ in range(2):
        with pytest.raises(
            UserError,
            match=(
                r"none of the checkpoints in .* remove checkpoint-2\.damaged there to begin"
                rf" {stage.upper()} anew"
            ),
        ):
            resume(tmp_path)


def test_what_came_after_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    run = started(tmp_path)
    checkpoint = read_checkpoint(write(run.checkpoints("grpo"), 4))
    for name in (
        "tiny-before",
        "two-step-problems-before",
        "tiny-dev-step-2",
        "tiny-dev-step-4",
        "tiny-dev-step-6",
        "tiny-after",
    ):
        (run.folder / "eval" / name).mkdir(parents=True)
    for file in (run.metrics, run.folder / "groups.jsonl"):
        file.write_text('{"step": 4}\n{"step": 5}\n{"st')
    (run.folder / f"adapter{UNFINISHED}").mkdir()
    run.adapter.mkdir()
    results = run.folder / "results.json"
    results.touch()
    forget_after(Resumed(run, {}, GRPO, checkpoint))
    assert not results.exists()
    left = sorted(folder.name for folder in (run.folder / "eval").iterdir())
    assert left == ["tiny-before", "tiny-dev-step-2", "tiny-dev-step-4", "two-step-problems-before"]
    assert run.metrics.read_text() == '{"step": 4}\n'
    assert (run.folder / "groups.jsonl").read_text() == '{"step": 4}\n'
    assert not list(run.folder.glob("adapter*"))
    (run.folder / "eval/tiny-dev-step-0").mkdir()
    # What `eval` says of the dev split may be changed before GRPO begins anew.
    forget_after(Resumed(run, {}))
    assert sorted(folder.name for folder in (run.folder / "eval").iterdir()) == [
        "tiny-before",
        "two-step-problems-before",
    ]
    (run.folder / "eval/tiny-after").mkdir()
    # Training is done: what was evaluated since is of the same adapter.
    forget_after(Resumed(run, {}, GRPO, replace(checkpoint, last=True)))
    assert (run.folder / "eval/tiny-after").is_dir()


def test_an_evaluation_that_other_packages_began_is_begun_anew(tmp_path: Path) -> None:
    run = started(tmp_path)
    for name in ("tiny-before", "tiny-shifted-before"):
        (run.folder / "eval" / name).mkdir(parents=True)
    (run.folder / "eval/tiny-before/result.json").touch()
    resume(tmp_path)
    assert len(list((run.folder / "eval").iterdir())) == 2
    environment = json.loads(run.environment.read_text())
    run.environment.write_text(
        json.dumps(environment | {"packages": environment["packages"] | {"torch": "1.0"}})
    )
    resume(tmp_path)
    assert [folder.name for folder in (run.folder / "eval").iterdir()] == ["tiny-before"]


def test_seconds_add_up_over_interruptions(tmp_path: Path) -> None:
    run = started(tmp_path)
    with run.phase("GRPO"):
        run.note_seconds()  # and then it is killed
    run.seconds["GRPO"] = 10.0
    run.note_seconds()
    again, _ = resume(tmp_path)
    with again.phase("GRPO"):
        pass
    assert 10.0 <= json.loads(again.seconds_file.read_text())["GRPO"] < 11.0


def test_a_token_in_the_command_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("sys.argv", ["train.py", "--set", "x=hf_secret"])
    run = started(tmp_path)
    assert "hf_secret" not in run.environment.read_text()
    assert "x=$HF_TOKEN" in run.environment.read_text()


def test_a_run_goes_on_in_the_last_stage_that_has_a_checkpoint(tmp_path: Path) -> None:
    run = started(tmp_path)
    origin = origin_of(tiny(), DATA) | {"ended_early": False}
    write(run.checkpoints("sft"), 150, **origin)

    def found() -> tuple[str, int]:
        resumed = resume_run(tmp_path / "tiny", origin, [SFT, GRPO], False, lambda _: None)
        let_go(resumed.run)
        assert resumed.checkpoint is not None
        assert resumed.round is not None
        return resumed.round.label, resumed.checkpoint.step

    assert found() == ("sft", 150)
    write(run.checkpoints("grpo"), 2, **origin)
    assert found() == ("grpo", 2)


def test_a_checkpoint_of_sft_takes_back_all_of_grpo(tmp_path: Path) -> None:
    """It has no metrics: nothing that was measured later is of the same model."""
    run = started(tmp_path)
    folder = write(run.checkpoints("sft"), 150)
    (folder / "metrics.jsonl").unlink()
    run.metrics.write_text('{"step": 4}\n')
    (run.folder / "eval/tiny-dev-step-4").mkdir(parents=True)
    (run.folder / "eval/tiny-after").mkdir()
    forget_after(Resumed(run, {}, SFT, Checkpoint(folder, 150, {})))
    assert list((run.folder / "eval").iterdir()) == []


def test_the_second_process_of_a_run_neither_locks_nor_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_run(tmp_path, "tiny", tiny())
    before = {file: file.stat().st_mtime_ns for file in first.folder.rglob("*")}
    monkeypatch.setenv("RANK", "1")
    second = open_run(tmp_path, "tiny", tiny())  # not refused, though the first one holds it
    assert second.lock is None
    with second.phase("GRPO"):
        pass
    second.discard()
    journal = Journal(second)
    journal.log(1, {"reward": 0.5})
    journal.text(1, "completions", "x")
    assert journal.history == [{"step": 1, "reward": 0.5}]  # health looks at it in every process
    keeper: Keeper[Any] = Keeper(
        second.checkpoints("grpo"), Save(every_steps=1), {}, write=lambda *_: None
    )
    keeper.take(SimpleNamespace(step=1, ended_early=False), now=True)
    assert keeper.kept == 1
    record = open_record(tmp_path / "tiny/eval/x", {"benchmark": {"name": "x"}, "model": {}})
    record.finish({})
    assert {file: file.stat().st_mtime_ns for file in first.folder.rglob("*")} == before
    let_go(first)


def test_a_further_process_waits_for_what_the_first_one_makes(tmp_path: Path) -> None:
    threading.Timer(0.3, lambda: (tmp_path / "made").mkdir()).start()
    started = time.monotonic()
    wait_for(tmp_path / "made", seconds=30)
    assert time.monotonic() - started > 0.2
    with pytest.raises(TimeoutError, match="the first process did not make"):
        wait_for(tmp_path / "never", seconds=0.2)


def test_the_second_process_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(quiet=True)
    display.say("x")
    with display.phase("GRPO", 1) as advance:
        advance(1)
    assert capsys.readouterr().out == ""
