"""`python -m eval` as a person types it: bad input told in one sentence, and evaluations compared
and read without a model.
"""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT, item, run_eval, write_evaluation

from eval.__main__ import main
from eval.record import open_record, read_result
from onecard.files.formats import write_json
from onecard.model.weights import write_base
from onecard.recipe.file import load_recipe
from onecard.run.folder import open_run
from onecard.types import UserError

pytestmark = pytest.mark.unit


Cli = Callable[..., SimpleNamespace]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """`python -m eval` in this process, with tmp_path as the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments: str) -> SimpleNamespace:
        returncode = main(list(arguments))
        return SimpleNamespace(returncode=returncode, **capsys.readouterr()._asdict())

    return call


def told(done: SimpleNamespace) -> str:
    """The one sentence of a refusal."""
    assert done.returncode == 2, done.out + done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    return str(done.err)


def weights(folder: Path, content: str) -> Path:
    """Something that looks like a model's or an adapter's folder; it is never loaded here."""
    folder.mkdir(parents=True)
    for name in ("config.json", "adapter_config.json"):
        write_json(folder / name, {"base_model_name_or_path": "nobody/nothing"})
    for name in ("model.safetensors", "adapter_model.safetensors"):
        (folder / name).write_text(content)
    return folder


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run's folder without a trained adapter."""
    recipe = load_recipe(ROOT / "recipes/tiny.yaml")
    run = open_run(tmp_path / "runs", "mine", recipe.resolved())
    weights(run.folder / "base-model", "base")
    (run.folder / "base-model/adapter_config.json").unlink()
    return run.folder


def test_an_unknown_model_is_one_sentence(tmp_path: Path) -> None:
    done = run_eval(tmp_path, "some-owner/some-model")
    assert done.returncode == 2
    assert done.stderr.startswith("error: model or run: some-owner/some-model is not on this disk")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ('{"question": "q"}', "mine.jsonl, row 1: no text in column 'answer'"),
        (
            '{"question": "q", "answer": "1"}\n{"question": "q", "answer": "#### one"}',
            "mine.jsonl, row 2: the answer must be a number",
        ),
        ("", "mine.jsonl: no rows"),
        ("\n\n", "mine.jsonl: no rows"),
        ("[1", "mine.jsonl, line 1: not JSON"),
        (None, "no file mine.jsonl"),
    ],
)
def test_bad_rows_are_named(
    cli: Cli, run_folder: Path, tmp_path: Path, rows: str | None, expected: str
) -> None:
    if rows is not None:
        (tmp_path / "mine.jsonl").write_text(rows)
    assert expected in told(cli(str(run_folder), "--base", "--benchmark", "mine.jsonl"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["{run}"],
            "has no adapter/adapter_model.safetensors: the run did not finish. `python -m eval ",
        ),
        (
            ["{run}", "--base", "--benchmark", "gsm9k"],
            "no such name 'gsm9k' (did you mean 'gsm8k'?)",
        ),
        (
            ["{run}", "--base", "--samples", "4"],
            "greedy decoding gives the same completion every time; add --temperature 0.7",
        ),
        (["{run}", "--base", "--temperature", "nan"], "--temperature nan"),
        (
            ["{base}", "--benchmark", "test"],
            "benchmark test: it is a split of a recipe's data set; name the recipe with --recipe",
        ),
        (
            ["{run}", "--adapter", "nowhere"],
            (
                "nowhere has no adapter_model.safetensors and adapter_config.json, so it is not an"
                " adapter"
            ),
        ),
        (["."], "the folder . has no config.json"),
        (["compare", "{run}", "{run}"], "is named twice"),
        (["compare", ".", "."], "is no evaluation: it has no result.json"),
        (["compare", "{run}", "."], "has not finished"),
        (["compare", ".", ".", "."], "wanted two evaluations, or the folders of finished"),
        (["show", "{run}"], "has no finished before and after of any benchmark"),
        (
            ["show", "{run}", "--benchmark", "tiny"],
            "has no finished before and after of tiny; it has: none",
        ),
        (["{base}", "--recipe", "nowhere.yaml"], "no recipe nowhere.yaml"),
        (
            ["{base}", "--data", "nowhere", "--benchmark", "gsm8k"],
            "--data nowhere: there is no folder gsm8k/ in it",
        ),
        (
            ["{base}", "--benchmark", "a/t.jsonl", "--benchmark", "b/t.jsonl"],
            "have one name, and their results would have one folder",
        ),
        (["x" * 300], "File name too long"),
        (
            ["{run}", "--adapter", "nameless"],
            "names no base model (base_model_name_or_path), so it is not a LoRA adapter",
        ),
        (
            ["{run}", "--adapter", "foreign"],
            "foreign was trained on another base model by its name: on nobody/nothing",
        ),
        (["{run}", "--adapter", "noted"], "base.json is damaged"),
    ],
)
def test_bad_input_is_one_sentence(
    cli: Cli, run_folder: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.jsonl").write_text('{"question": "q", "answer": "1"}')
    for folder in ("nameless", "foreign", "noted"):
        weights(tmp_path / folder, "adapter")
    write_json(tmp_path / "nameless/adapter_config.json", {})
    (tmp_path / "noted/base.json").write_text("{")
    names = {"{run}": str(run_folder), "{base}": str(run_folder / "base-model")}
    assert expected in told(cli(*(names.get(argument, argument) for argument in arguments)))


def test_an_adapter_is_not_put_on_another_base(cli: Cli, run_folder: Path, tmp_path: Path) -> None:
    adapter = weights(run_folder / "adapter", "adapter")
    other = weights(tmp_path / "other", "other weights")
    write_base(adapter, str(other))
    sentence = told(cli(str(run_folder)))
    assert (
        f"{adapter} was trained on another base model: on {other}, and this is"
        f" {run_folder}/base-model with other weights" in sentence
    )
    moved = run_folder.rename(tmp_path / "moved")  # the weights count, not where they lie
    write_base(moved / "adapter", str(moved / "base-model"))
    (tmp_path / "mine.jsonl").write_text("[")
    assert "not JSON" in told(cli(str(moved), "--benchmark", "mine.jsonl"))  # got past the adapter


def test_compare_says_what_differs_and_what_changed(cli: Cli, tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a", [item(n, n < 4) for n in range(20)])
    write_evaluation(tmp_path / "b", [item(n, 0 < n < 15) for n in range(20)])
    done = cli("compare", "a", "b")
    assert done.returncode == 0, done.err
    line = next(line for line in done.out.splitlines() if line.startswith(" accuracy"))
    assert line.split() == ["accuracy", "20.0%", "70.0%", "+50.0", "+25.0", "to", "+75.0", "0.006"]
    assert "11 fixed, 1 broken, 3 still right, 5 still wrong" in done.out
    benchmark = {"name": "tiny", "version": 2, "count": 20, "sha256": "0" * 64}
    write_evaluation(tmp_path / "c", [item(n, True) for n in range(20)], benchmark=benchmark)
    assert "these two do not compare: benchmark.version: 1 and 2" in told(cli("compare", "a", "c"))
    write_evaluation(tmp_path / "d", [item(n, True) for n in range(20)], answer_format="boxed")
    assert "answer_format: 'auto' and 'boxed'" in told(cli("compare", "a", "d"))


def test_compare_minds_the_prompts_as_they_were_written_and_names_both_sides(
    cli: Cli, tmp_path: Path
) -> None:
    write_evaluation(tmp_path / "a", [item(n, True) for n in range(3)])
    model = {
        "engine": "transformers",
        "dtype": "bfloat16",
        "load_in_4bit": True,
        "base": {"name": "other/model", "sha256": None},
    }
    write_evaluation(
        tmp_path / "b[x]", [item(n, True, prompt="SYSTEM: genius") for n in range(3)], model=model
    )
    assert "their chat templates write the same problem as different prompts" in told(
        cli("compare", "a", "b[x]")
    )
    done = cli("compare", "a", "b[x]", "--across-templates")
    assert done.returncode == 0
    assert "other: b[x]: other/model; transformers, bfloat16, 4-bit" in done.out


def test_compare_of_sampled_evaluations_says_so(cli: Cli, tmp_path: Path) -> None:
    for name, rights in (("a", (1, 2, 0, 1)), ("b", (3, 4, 2, 4))):
        write_evaluation(
            tmp_path / name,
            [item(n, s < right, sample=s) for n, right in enumerate(rights) for s in range(4)],
        )
    done = cli("compare", "a", "b")
    assert "accuracy, mean@4" in done.out
    assert "maj@4" in done.out
    assert "sign-flip permutation test" in done.out
    assert "more than half of a problem's completions" in done.out


def test_a_result_of_another_version_or_damaged_is_told(cli: Cli, tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a", [item(n, True) for n in range(3)])
    facts = json.loads((tmp_path / "a/result.json").read_text())
    write_json(tmp_path / "a/result.json", facts | {"format": 7})
    assert "format 7, and this version reads 1; evaluate again" in told(cli("show", "a"))
    write_json(tmp_path / "a/result.json", facts)
    lines = (tmp_path / "a/items.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "a/items.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match="has 2 lines, wanted 3"):
        read_result(tmp_path / "a")
    (tmp_path / "a/items.jsonl").write_text("".join([lines[0], lines[0], lines[1]]))
    with pytest.raises(UserError, match="or one stands twice"):
        read_result(tmp_path / "a")
    (tmp_path / "a/items.jsonl").write_text("".join(lines).replace('"verdict"', '"word"'))
    with pytest.raises(UserError, match="damaged"):
        read_result(tmp_path / "a")
    (tmp_path / "a/result.json").unlink()
    with pytest.raises(UserError, match="is not finished; the command that began it continues it"):
        read_result(tmp_path / "a")


def test_an_interrupted_record_continues_and_one_of_another_question_does_not(
    tmp_path: Path,
) -> None:
    base = {"name": "m", "sha256": "0" * 64}
    settings = {
        "benchmark": {"name": "tiny", "count": 3},
        "sampling": {"temperature": 0.0, "samples": 1},
        "model": {"engine": "e", "base": base},
    }
    record = open_record(tmp_path / "a", settings)
    record.add({2: item(2, True), 0: item(0, False)})
    with record.partial.open("a") as file:
        file.write('{"place": 1, "id": "1", "ques')  # killed while it wrote
    again = open_record(tmp_path / "a", settings)
    assert again.items == {2: item(2, True), 0: item(0, False)}
    again.add({1: item(1, True)})
    assert sorted(open_record(tmp_path / "a", settings).items) == [0, 1, 2]
    with pytest.raises(
        UserError, match=r"holds another evaluation: sampling.temperature: 0.0 and 1.0\. --again"
    ):
        open_record(tmp_path / "a", settings | {"sampling": {"temperature": 1.0, "samples": 1}})


SETTINGS = {"benchmark": {"name": "tiny"}, "model": {"base": {"name": "runs/m", "sha256": "5"}}}


def test_the_same_weights_by_another_path_are_the_same(tmp_path: Path) -> None:
    open_record(tmp_path / "a", SETTINGS).add({0: item(0, True)})
    moved = SETTINGS | {"model": {"base": {"name": "/elsewhere/runs/m", "sha256": "5"}}}
    assert len(open_record(tmp_path / "a", moved).items) == 1
    with pytest.raises(UserError, match=r"model.base.sha256: '5' and '6'"):
        open_record(
            tmp_path / "a", SETTINGS | {"model": {"base": {"name": "runs/m", "sha256": "6"}}}
        )


def test_other_packages_may_read_a_finished_evaluation_and_not_finish_one(tmp_path: Path) -> None:
    def with_torch(version: str) -> dict[str, Any]:
        return SETTINGS | {
            "model": {"base": {"name": "m", "sha256": "5"}, "versions": {"torch": version}}
        }

    record = open_record(tmp_path / "a", with_torch("1.0"))
    record.add({0: item(0, True)})
    with pytest.raises(UserError, match=r"model.versions.torch: '1.0' and '2.0'"):
        open_record(tmp_path / "a", with_torch("2.0"))
    record.finish({})
    open_record(tmp_path / "a", with_torch("2.0"))


def test_rows_without_settings_or_with_damaged_ones_are_nobody_s(tmp_path: Path) -> None:
    open_record(tmp_path / "a", SETTINGS).add({0: item(0, True)})
    for damage in (
        Path.unlink,
        lambda file: file.write_text("[]"),
        lambda file: file.write_text("{"),
    ):
        damage(tmp_path / "a/settings.json")
        with pytest.raises(UserError, match="is damaged"):
            open_record(tmp_path / "a", SETTINGS)
    assert not open_record(tmp_path / "a", SETTINGS, again=True).items
    open_record(tmp_path / "b", SETTINGS).partial.write_text(
        '{"place": 0, "of another version": 1}\n'
    )
    with pytest.raises(UserError, match="is damaged"):
        open_record(tmp_path / "b", SETTINGS)


def test_again_removes_an_evaluation_and_nothing_else(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a", [item(0, True)])
    (tmp_path / "a/thesis.txt").write_text("years of work")
    open_record(tmp_path / "a", SETTINGS, again=True)
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == [
        "settings.json",
        "thesis.txt",
    ]


def test_show_writes_control_characters_out(cli: Cli, tmp_path: Path) -> None:
    write_evaluation(
        tmp_path / "a", [item(0, True, "red\x1b[2J\x1b]0;owned\x07 \x9b31m\r over\x08")]
    )
    done = cli("show", "a")
    assert "red\\x1b[2J\\x1b]0;owned\\x07 \\x9b31m\\x0d over\\x08" in done.out
    assert not any(chr(code) in done.out for code in (0x1B, 0x07, 0x08, 0x0D, 0x9B))


def test_show_refuses_another_benchmark_s_name(cli: Cli, tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a", [item(0, True)])
    assert "a is an evaluation of tiny" in told(cli("show", "a", "--benchmark", "gsm8k"))


@pytest.mark.parametrize(
    ("which", "ids"), [((), [0, 1, 2, 3]), (("--wrong",), [1, 2]), (("--truncated",), [2])]
)
def test_show_pages_through_one_evaluation(
    cli: Cli, tmp_path: Path, which: tuple[str, ...], ids: list[int]
) -> None:
    items = [
        item(n, n in (0, 3), f"working {n} [bold]x[/bold]", truncated=n == 2) for n in range(4)
    ]
    write_evaluation(tmp_path / "a", items)
    done = cli("show", "a", *which)
    assert done.returncode == 0, done.err
    assert [n for n in range(4) if f"question {n}" in done.out] == ids
    assert all(f"working {n} [bold]x[/bold]" in done.out for n in ids)
    assert f"{len(ids)} of 4 completions" in done.out


def test_show_puts_a_run_s_before_beside_its_after(cli: Cli, run_folder: Path) -> None:
    for when, right in (("before", {0, 1}), ("after", {1, 2})):
        write_evaluation(
            run_folder / f"eval/tiny-{when}", [item(n, n in right, f"{when} {n}") for n in range(4)]
        )
    done = cli("show", str(run_folder), "--changed")
    assert "2 of 4 completions to tiny, changed" in done.out
    assert [n for n in range(4) if f"question {n}" in done.out] == [0, 2]
    line = next(line for line in done.out.splitlines() if "before: correct" in line)
    assert "after: wrong" in line  # side by side
    assert "--changed compares before and after" in told(
        cli("show", str(run_folder / "eval/tiny-after"), "--changed")
    )
