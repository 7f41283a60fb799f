"""Several runs of one recipe: which ones, what is refused before the first, the comparison."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, ShortRun, item, no_sft, run_train, variables, write_evaluation
from rich.console import Console

from eval.record import read_result
from eval.scores import compare
from onecard.console.display import Display
from onecard.files.formats import write_json, write_jsonl
from onecard.recipe.file import load_recipe
from onecard.recipe.schema import Recipe
from onecard.report.comparison import compare_runs
from onecard.run.folder import open_run
from onecard.sweep.grid import variants
from onecard.sweep.runner import Asked, plan_runs, run_all
from onecard.types import FOLDER_NAME, UserError

RATES = "grpo.learning_rate=1e-3,1e-4"


@pytest.mark.unit
def test_all_values_with_each_seed_the_first_seed_first() -> None:
    found = variants("7,8", [RATES, "grpo.beta=0,0.1"])
    assert [one.settings for one in found[:3]] == [
        ("grpo.learning_rate=1e-3", "grpo.beta=0", "seed=7"),
        ("grpo.learning_rate=1e-3", "grpo.beta=0.1", "seed=7"),
        ("grpo.learning_rate=1e-4", "grpo.beta=0", "seed=7"),
    ]
    assert len(found) == 8
    assert found[-1].name == "learning_rate-1e-4-beta-0.1-seed-8"


@pytest.mark.unit
def test_a_value_s_name_is_a_folder_s_and_does_not_hang_on_the_others() -> None:
    """Else a finished sweep with one more value would begin anew."""
    assert [one.name for one in variants(None, ["a.w=0.5,-0.5"])] == ["w-0.5", "w--0.5"]
    texts = ["a/b", "a-b", "a b", "思考", "回答", "long " * 20]
    listed = ",".join(json.dumps(text, ensure_ascii=False) for text in texts)
    names = [one.name for one in variants(None, [f"data.system_prompt={listed}"])]
    assert len(set(names)) == len(texts)
    assert all(re.match(FOLDER_NAME, name) for name in names)
    assert names[1] == "system_prompt-a-b"
    fewer = [one.name for one in variants(None, ['data.system_prompt="a/b","思考"'])]
    assert fewer == [names[0], names[3]]


@pytest.mark.unit
def test_keys_of_one_last_word_are_told_apart() -> None:
    sweeps = ["sft.learning_rate=1e-3,2e-3", "grpo.learning_rate=1e-4,2e-4"]
    first = variants(None, sweeps)[0]
    assert first.name == "sft.learning_rate-1e-3-grpo.learning_rate-1e-4"


@pytest.mark.unit
def test_a_text_in_quotes_is_meant_without_them() -> None:
    """Quotes are how a value with a comma is written at all."""
    sweep = """data.system_prompt="Think, then answer: 1",'Answer.'"""
    prompts = [
        load_recipe(ROOT / "recipes/tiny.yaml", list(one.settings)).data.system_prompt
        for one in variants(None, [sweep])
    ]
    assert prompts == ["Think, then answer: 1", "Answer."]
    numbers = variants(None, ["grpo.beta='0',0.1"])
    assert [one.settings for one in numbers] == [("grpo.beta='0'",), ("grpo.beta=0.1",)]


@pytest.mark.unit
@pytest.mark.parametrize(
    ("sweep", "values"),
    [
        ("grpo.dynamic_sampling=null,{max_rounds: 2, floor: 0.1}", 2),
        ("rewards=[{name: a, weight: 2}],[{name: b}],[{name: c}]", 3),
        ("health.stop_on=['kl','entropy'],[]", 2),
    ],
)
def test_commas_inside_a_value_part_nothing(sweep: str, values: int) -> None:
    found = variants(None, [sweep])
    assert len(found) == values
    key, _, written = sweep.partition("=")
    assert ",".join(one.settings[0].removeprefix(f"{key}=") for one in found) == written


@pytest.mark.unit
@pytest.mark.parametrize(
    ("seeds", "sweep", "said"),
    [
        ("0,one", None, "wanted different whole numbers"),
        ("0,0", None, "wanted different whole numbers"),
        ("", None, "wanted different whole numbers"),
        (None, "grpo.beta", "wanted KEY=VALUE,VALUE"),
        (None, "grpo.beta=0.1", "wanted two values or more"),
        (None, "grpo.beta=[0.1,0.2", "cannot be read as a list"),
        (None, "grpo.beta=a]: [b,c", "cannot be read as a list"),
        ("0,1", "seed=2,3", "seed is to be varied twice"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(
    seeds: str | None, sweep: str | None, said: str
) -> None:
    with pytest.raises(UserError, match=said.replace("|", r"\|")):
        variants(seeds, [sweep] if sweep else [])


@pytest.mark.unit
def test_nothing_begins_where_one_of_the_recipes_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = []
    for sweep in ("grpo.beta=0,-1", "grpo.beta=1e-3,0.001", "model.name=tiny,owner/none"):
        asked = Asked(str(ROOT / "recipes/tiny.yaml"), [], None, None, [sweep])
        with pytest.raises(UserError) as error:
            run_all(asked, Display(quiet=True), is_tiny)
        said.append(str(error.value))
    assert "grpo.beta=-1" in said[0]
    assert "tiny-beta-1e-3 and tiny-beta-0.001 would be the same run" in said[1]
    assert said[2].endswith("no such model")
    assert not (tmp_path / "runs").exists()


def is_tiny(recipe: Recipe) -> None:
    """As train.py's check_input, without a hub."""
    if recipe.model.name != "tiny":
        raise UserError("no such model")


@pytest.mark.unit
def test_runs_that_fail_or_are_killed_do_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The runs are a script in the place of train.py: one is refused, one kills itself."""
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "train.py"
    script.write_text(
        "import os, sys\n"
        "name = sys.argv[sys.argv.index('--name') + 1]\n"
        "print('begun', name, flush=True)\n"
        "if name.endswith('1'): sys.exit(2)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.setattr("onecard.sweep.runner.TRAIN", script)
    made(tmp_path / "runs", "tiny-seed-0", 4, ["seed=0"])
    recipe = str(ROOT / "recipes/tiny.yaml")
    asked = Asked(recipe, [], None, "0,1,2", [], resume=True)
    assert run_all(asked, Display(), is_tiny) == 1
    told = capfd.readouterr().out
    assert "begun tiny-seed-1" in told
    assert "begun tiny-seed-2" in told
    assert "seed=0: runs/tiny-seed-0 is finished" in told
    assert "failed, and so not compared: tiny-seed-1, tiny-seed-2" in told
    assert (tmp_path / "runs/tiny-compared/comparison.html").is_file()


@pytest.mark.unit
def test_where_the_command_is_killed_the_run_ends_too(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import pathlib, signal, sys, time\n"
        "def end(*_):\n"
        "    pathlib.Path('ended').touch()\n"
        "    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "pathlib.Path('begun').touch()\n"
        "time.sleep(100)\n"
    )
    code = (
        "import sys; from pathlib import Path; import onecard.sweep.runner as runner;"
        " from onecard.console.display import Display; runner.TRAIN = Path('train.py').absolute();"
        " asked = runner.Asked(sys.argv[1], [], None, '0,1', []);"
        " runner.run_all(asked, Display(), lambda _: None)"
    )
    command = [sys.executable, "-c", code, str(ROOT / "recipes/tiny.yaml")]
    process = subprocess.Popen(command, cwd=tmp_path, env=variables())
    wait_until((tmp_path / "begun").is_file, 60)
    process.kill()
    process.wait()
    wait_until((tmp_path / "ended").is_file, 60)


@pytest.mark.unit
def test_folders_that_are_there_are_gone_on_with_if_asked_and_if_they_are_of_the_same_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = str(ROOT / "recipes/tiny.yaml")
    made(tmp_path / "runs", "tiny-seed-0", 4, ["seed=0"])
    made(tmp_path / "runs", "tiny-seed-1", 5, ["seed=1"])
    quiet = Display(quiet=True)
    asked = Asked(recipe, [], None, "0,1", [])
    with pytest.raises(UserError, match="tiny-seed-0 exists already: add --resume"):
        run_all(asked, quiet, is_tiny)
    again = replace(asked, resume=True)
    with pytest.raises(UserError, match=r"grpo\.beta: 0\.001 and 0\.5"):
        run_all(replace(again, settings=["grpo.beta=0.5"]), quiet, is_tiny)
    assert run_all(again, quiet, is_tiny) == 0
    # What may be changed is no other run, and no finished one.
    longer = replace(again, settings=["grpo.max_steps=90"])
    assert [one.finished for one in plan_runs(longer, is_tiny)] == [False, False]
    often = replace(again, settings=["save.every_steps=7"])
    with pytest.raises(UserError, match="--resume-anyway goes on with these changes"):
        plan_runs(often, is_tiny)
    assert len(plan_runs(replace(often, anyway=True), is_tiny)) == 2
    assert (tmp_path / "runs/tiny-compared/comparison.html").is_file()


def made(root: Path, name: str, right: int, settings: list[str], **changes: Any) -> Path:
    """A finished run made by hand: of 20 problems, 2 are right before and `right` after."""
    run = open_run(root, name, load_recipe(ROOT / "recipes/tiny.yaml", settings).resolved())
    for when, count in (("before", 2), ("after", right)):
        items = [item(n, n < count) for n in range(20)]
        write_evaluation(run.evaluation("tiny", when), items, **changes)
    before, after = (read_result(run.evaluation("tiny", when))[1] for when in ("before", "after"))
    results = {"benchmarks": {"tiny": compare(before, after)}, "seconds": {"total": 90.0}}
    write_json(run.folder / "results.json", results)
    (run.folder / "report.html").touch()
    steps = [{"step": step, "reward": step / 10, "answers/correct": 0.5} for step in (1, 2, 3)]
    write_jsonl(run.metrics, steps)
    write_jsonl(run.health, [{"name": "kl", "level": "alarm"}] if right == 3 else [])
    assert run.lock is not None
    run.lock.close()
    return run.folder


def shown(*folders: Path, out: Path | None = None) -> list[list[str]]:
    """The rows of a comparison on a wide terminal, cell by cell."""
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(compare_runs(folders, out))
    lines = console.export_text().splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


@pytest.mark.unit
def test_seeds_are_pooled_by_problem_and_held_against_the_first_value(tmp_path: Path) -> None:
    folders = [
        made(tmp_path, "a0", 4, ["seed=0"]),
        made(tmp_path, "b0", 14, ["seed=0", "grpo.beta=0"]),
        made(tmp_path, "a1", 6, ["seed=1"]),
        made(tmp_path, "b1", 16, ["seed=1", "grpo.beta=0"]),
    ]
    rows = shown(*folders, out=tmp_path / "out")
    assert ["beta=0.001", "10.0%", "25.0%", "20.0, 30.0"] in rows  # 4 of 20 and 6 of 20
    other = row_of(rows, "beta=0.0")
    assert other[1:5] == ["10.0%", "75.0%", "70.0, 80.0", "+50.0"]
    page = (tmp_path / "out/comparison.html").read_text(encoding="utf-8")
    assert "share of right completions" in page
    lines = (tmp_path / "out/comparison.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    first, other = row_of(cells, "beta=0.001"), row_of(cells, "beta=0.0")
    assert first[1] == other[1] == "0, 1"
    assert first[4].startswith("+15.0")
    assert other[4].startswith("+65.0")
    assert other[5].startswith("+50.0")
    each = row_of(cells, "b1")
    assert each[3].startswith("80.0%")
    assert each[5].startswith("+60.0")  # than the first of all


@pytest.mark.unit
def test_an_arm_s_name_says_its_own_values_in_the_recipe_s_order(tmp_path: Path) -> None:
    """Two keys with one last word, an item of a list, a text of many words."""
    sections = ["sft.learning_rate", "grpo.learning_rate"]
    settings = [
        [f"{key}={rate}" for key, rate in zip(sections, rates, strict=True)]
        for rates in ((1e-3, 1e-4), (1e-3, 2e-4), (2e-3, 1e-4))
    ]
    folders = [made(tmp_path, f"r{n}", 4 + n, one) for n, one in enumerate(settings)]
    rows = shown(*folders)
    assert row_of(rows, "sft.learning_rate=0.001, grpo.learning_rate=0.0002")[1:3] == [
        "10.0%",
        "25.0%",
    ]
    two = [made(tmp_path, f"w{n}", 4 + n, [f"rewards.1.weight={n}"]) for n in (0, 1)]
    assert row_of(shown(*two), "weight=0.0")
    long = [made(tmp_path, f"p{n}", 4, [f"data.system_prompt={n}{'word ' * 100}"]) for n in (1, 2)]
    (label, _) = (row[0] for row in shown(*long) if row and row[0].startswith("system_prompt="))
    assert len(label) < 60


@pytest.mark.unit
def test_several_arms_are_told_with_their_seeds_and_a_corrected_p(tmp_path: Path) -> None:
    beta = {"a": 0.001, "b": 0.0, "c": 0.1}
    folders = [
        made(tmp_path, f"{name}{seed}", right + seed, [f"seed={seed}", f"grpo.beta={beta[name]}"])
        for name, right in (("a", 4), ("b", 12), ("c", 5))
        for seed in (0, 1)
    ]
    rows = shown(*folders)
    assert any("points more than beta=0.001" in " ".join(row) for row in rows)
    assert row_of(rows, "beta=0.0")[3] == "60.0, 65.0"
    alone = shown(*folders[:4])
    uncorrected, corrected = (float(row_of(one, "beta=0.0")[-1]) for one in (alone, rows))
    assert corrected == pytest.approx(2 * uncorrected, rel=0.2)
    assert any("other seeds" in " ".join(row) for row in rows)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda run: (run / "results.json").write_text("{"), "cannot be read: JSONDecodeError"),
        (lambda run: (run / "results.json").write_text("{}"), "cannot be read: KeyError"),
        (lambda run: (run / "recipe.resolved.yaml").write_text("a: 1"), "KeyError: 'seed'"),
        (lambda run: (run / "recipe.resolved.yaml").write_text("- a"), "TypeError"),
    ],
)
def test_a_damaged_run_is_named(tmp_path: Path, harm: Callable[[Path], object], told: str) -> None:
    run = made(tmp_path, "one", 3, [])
    harm(run)
    with pytest.raises(UserError, match=f"{run}.*{told}"):
        compare_runs([run, made(tmp_path, "other", 3, [])])


@pytest.mark.unit
def test_a_sweep_whose_runs_would_not_compare_is_refused_before_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def planned(*sweeps: str, name: str | None = None) -> object:
        asked = Asked(str(ROOT / "recipes/tiny.yaml"), (), name, None, sweeps)
        return plan_runs(asked, is_tiny)

    with pytest.raises(UserError, match=r"eval\.limit: .* different problems"):
        planned("eval.limit=8,16")
    with pytest.raises(UserError, match=r"eval\.benchmarks: there is none that all"):
        planned("eval.benchmarks=[tiny],[tiny-shifted]")
    with pytest.raises(UserError, match="too long for a folder"):
        planned("grpo.beta=0,0.1", name="n" * 95)
    assert not list(tmp_path.iterdir())


@pytest.mark.unit
def test_of_seeds_alone_each_one_s_gain_is_shown_and_that_of_all(tmp_path: Path) -> None:
    folders = [made(tmp_path, "a", 4, ["seed=0"]), made(tmp_path, "b", 6, ["seed=1"])]
    rows = shown(*folders)
    assert row_of(rows, "seed 1")[1:4] == ["10.0%", "30.0%", "+20.0"]
    assert row_of(rows, "all: seeds 0, 1")[1:4] == ["10.0%", "25.0%", "+15.0"]


def row_of(rows: list[list[str]], name: str) -> list[str]:
    return next(row for row in rows if row and row[0] == name)


@pytest.mark.unit
def test_runs_of_other_recipes_are_shown_with_all_that_differs(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>"
    settings = ["grpo.beta=0", "grpo.max_steps=3", f"data.system_prompt={attack}"]
    one, other = made(tmp_path, "one", 3, []), made(tmp_path, "other", 9, settings)
    rows = shown(one, other, out=tmp_path / "out")
    assert ["grpo.beta", "0.001", "0.0"] in rows
    assert ["grpo.max_steps", "80", "3"] in rows
    assert ["alarms", "one: kl"] in rows
    assert "| one | 0 | " in (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert attack not in (tmp_path / "out/comparison.html").read_text(encoding="utf-8")


@pytest.mark.unit
def test_what_does_not_compare_is_refused(tmp_path: Path) -> None:
    one = made(tmp_path, "one", 3, [])
    benchmark = {"name": "tiny", "version": 2, "count": 20, "sha256": "0" * 64}
    other = made(tmp_path, "other", 3, [], benchmark=benchmark)
    with pytest.raises(UserError, match="no benchmark of which all were asked the same problems"):
        compare_runs([one, other])
    (one / "results.json").unlink()
    with pytest.raises(UserError, match="has not finished"):
        compare_runs([one, other])
    with pytest.raises(UserError, match="is no run folder"):
        compare_runs([tmp_path, other])
    with pytest.raises(UserError, match="one of them is named twice"):
        compare_runs([other, other])


@pytest.mark.unit
def test_runs_of_one_name_and_recipe_stand_apart(tmp_path: Path) -> None:
    """As before and after an update."""
    rows = shown(made(tmp_path / "old", "tiny", 4, []), made(tmp_path / "new", "tiny", 9, []))
    assert row_of(rows, "old/tiny")[1:] == ["10.0%", "20.0%"]
    assert row_of(rows, "new/tiny")[1:4] == ["10.0%", "45.0%", "+25.0"]
    clones = [made(tmp_path / f"{clone}/runs", "tiny", 4, []) for clone in ("a", "b")]
    rows = shown(*clones)
    assert row_of(rows, "a/runs/tiny")
    assert row_of(rows, "b/runs/tiny")


@pytest.mark.unit
def test_any_text_may_be_a_value(tmp_path: Path) -> None:
    """Formulas, tables and lines: they stand in a plot, in Markdown and in HTML."""
    prompts = ("Put it in $\\boxed{}$ | now", "Think.\n\nThen answer")
    folders = []
    for number, prompt in enumerate(prompts):
        setting = f"data.system_prompt={json.dumps(prompt)}"
        folders.append(made(tmp_path, f"run-{number}", 4 + number, [setting]))
    compare_runs(folders, tmp_path / "out")
    table = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.startswith("| system_prompt=")]
    assert len(rows) == 2
    assert "\\boxed{}$ \\| now" in rows[0]


@pytest.mark.e2e
def test_runs_that_were_stopped_go_on_and_end_in_a_table(
    short_run: ShortRun, tmp_path: Path
) -> None:
    settings = (*no_sft(short_run), "grpo.max_steps=2")
    command = [sys.executable, str(ROOT / "train.py"), str(ROOT / "recipes/tiny.yaml")]
    command += [part for one in settings for part in ("--set", one)] + ["--seeds", "0,1"]
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=variables(), stdout=output, stderr=output, text=True
        )
        metrics = tmp_path / "runs/tiny-seed-1/metrics.jsonl"
        wait_until(lambda: metrics.is_file() or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=120)
    assert code == 128 + signal.SIGINT, log.read_text()
    first = tmp_path / "runs/tiny-seed-0/adapter/adapter_model.safetensors"
    written = first.stat().st_mtime_ns
    done = run_train(tmp_path, "tiny", *settings, extra=("--seeds", "0,1", "--resume"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiny-seed-0 is finished" in done.stdout
    assert first.stat().st_mtime_ns == written
    assert "runs/tiny-compared/comparison.html" in done.stdout
    alone = run_train(tmp_path, "tiny", *settings, "seed=1", name="alone")
    assert alone.returncode == 0
    adapters = [tmp_path / f"runs/{name}/adapter" for name in ("alone", "tiny-seed-1")]
    one, other = ((folder / "adapter_model.safetensors").read_bytes() for folder in adapters)
    assert one == other
    again = run_train(tmp_path, "tiny", *settings, extra=("--seeds", "0,1"))
    assert again.returncode == 2
    assert "exists already: add --resume" in again.stderr


def wait_until(done: Any, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.unit
def test_torchrun_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    with pytest.raises(UserError, match="leave torchrun out"):
        run_all(Asked("recipes/tiny.yaml", [], None, "0,1", []), Display(quiet=True), is_tiny)
