"""train.py as a person types it: fast answers, and bad input told in one sentence with nothing
written.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_hub import Hub

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent
HEAVY = [
    "torch",
    "trl",
    "unsloth",
    "transformers",
    "datasets",
    "scipy",
    "matplotlib",
    "huggingface_hub",
    "math_verify",
    "reasoning_gym",
]


def train(*arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "HF_HUB_OFFLINE": "1"} | env
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("train", "--help"),
        ("train", "recipes/tiny.yaml --plan"),
        ("train", "recipes/gsm8k-tiny.yaml --plan"),
        ("eval", "--help"),
        ("rewards", "--help"),
        ("onecard.chat", "--help"),
        ("onecard.export", "--help"),
        ("onecard.doctor", "--help"),
    ],
)
def test_a_quick_answer_imports_none_of_the_heavy_packages(module: str, arguments: str) -> None:
    """That is what makes it quick; bench/startup.py measures the seconds."""
    code = f"""
import runpy, sys
sys.argv = ["command", *{arguments.split()}]
try:
    runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
heavy = {HEAVY}
assert not set(heavy) & set(sys.modules), set(heavy) & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_plan_says_what_will_be_done() -> None:
    plan = train(
        "recipes/tiny.yaml", "--plan", "--set", "grpo.max_steps=10", "--set", "eval.limit=300"
    ).stdout
    assert "max_steps: 10" in plan
    assert "10 steps x 16 prompts x 8 completions" in plan
    assert "1,280 completions, at most 61,440 generated tokens" in plan
    assert "tiny, before and after, greedy: 300" in plan


def rows(folder: Path, content: str) -> None:
    folder.mkdir(exist_ok=True)
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text(content, encoding="utf-8")


GOOD_ROW = json.dumps({"question": "What is 1 + 1?", "answer": "1 + 1 = 2\n#### 2"})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere.yaml"], "no recipe nowhere.yaml"),
        (["data"], "is a folder, not a recipe"),
        (["{tiny}", "--set", "grpo.max_steps=many"], "should be a valid integer, got 'many'"),
        (
            ["{tiny}", "--set", "grpo.per_device_train_batch_size=12"],
            "does not divide; make it 8 or 16",
        ),
        (
            ["{tiny}", "--set", "model.name=some-owner/some-model"],
            "model.name: some-owner/some-model is not on this disk",
        ),
        (["{tiny}", "--set", "model.name=data"], "model.name: the folder data has no config.json"),
        (["{tiny}", "--set", "data.path=nowhere"], "data.path: no folder or file 'nowhere'"),
        (
            ["{tiny}", "--set", "data.path=nowhere", "--set", "data.hub_id=owner/set"],
            "data.hub_id: owner/set is not on this disk",
        ),
        (
            ["{gsm}", "--set", "data.path=columns"],
            (
                "columns/train.jsonl, row 1: no text in column 'question' (the row has: problem,"
                " answer)"
            ),
        ),
        (
            ["{gsm}", "--set", "data.path=gold"],
            (
                "gold/train.jsonl, row 2: the answer must be a number or end in '#### NUMBER', got"
                " 'two'"
            ),
        ),
        (["{gsm}", "--set", "data.path=empty"], "empty/train.jsonl: no rows"),
        (["{gsm}", "--set", "data.path=broken"], "broken/train.jsonl, line 1: not JSON"),
        (["{gsm}", "--set", "data.path=."], "no file train.jsonl"),
        (["{tiny}", "--name", "../up"], "--name ../up"),
        (["{tiny}", "--name", ""], "wanted a plain folder name"),
        (["{tiny}", "--set", "rewards=[{name: custom, function: nope.py:f}]"], "no file nope.py"),
        (["{tiny}", "--name", "taken"], "runs/taken exists already"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(
    tmp_path: Path, arguments: list[str], expected: str
) -> None:
    rows(tmp_path / "data", GOOD_ROW)
    rows(tmp_path / "columns", json.dumps({"problem": "p", "answer": "#### 1"}))
    rows(tmp_path / "gold", GOOD_ROW + "\n" + json.dumps({"question": "q", "answer": "two"}))
    rows(tmp_path / "empty", "\n")
    rows(tmp_path / "broken", "{question")
    (tmp_path / "runs/taken").mkdir(parents=True)
    there = {file for file in tmp_path.rglob("*") if ".cache" not in file.parts}
    names = {
        "{tiny}": str(ROOT / "recipes/tiny.yaml"),
        "{gsm}": str(ROOT / "recipes/gsm8k-tiny.yaml"),
    }
    done = train(*(names.get(argument, argument) for argument in arguments), cwd=tmp_path)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert {file for file in tmp_path.rglob("*") if ".cache" not in file.parts} == there


@pytest.mark.fault(
    "a model that brings Python code of its own",
    "refused unless the recipe trusts it; nothing of it is run",
)
def test_code_that_a_model_brings_along_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    config = {"model_type": "odd", "auto_map": {"AutoConfig": "configuration_odd.OddConfig"}}
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    (tmp_path / "model/configuration_odd.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    done = train(
        str(ROOT / "recipes/tiny.yaml"),
        "--set",
        "model.name=model",
        "--set",
        "sft=null",
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "model.name: model brings Python code of its own along" in done.stderr
    assert "`model.trust_remote_code: true` runs it" in done.stderr
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            "owner/gated",
            (
                "model.name: owner/gated is gated: accept its licence on its page of the hub, then"
                " set HF_TOKEN"
            ),
        ),
        (
            "owner/none",
            (
                "model.name: the hub knows no model 'owner/none'; if it is private or gated, set"
                " HF_TOKEN"
            ),
        ),
    ],
)
def test_a_model_that_the_hub_does_not_give_is_refused_at_once(
    tmp_path: Path, hub: tuple[type[Hub], dict[str, str]], model: str, told: str
) -> None:
    answers, environment = hub
    answers.known["owner/gated"] = {"gated": "manual"}
    done = train(
        str(ROOT / "recipes/tiny.yaml"),
        "--set",
        f"model.name={model}",
        "--set",
        "sft=null",
        cwd=tmp_path,
        **environment,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert told in done.stderr
    assert not (tmp_path / "runs").exists()
