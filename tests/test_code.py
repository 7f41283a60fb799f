"""Code that passes its tests is learned, through the whole pipeline."""

import json
from pathlib import Path

import pytest
from conftest import ROOT, run_train
from walls import needs_walls

from onecard.data.synthetic_code import SyntheticCode, build_functions
from rewards.answer.kinds.code import trial_of


@pytest.mark.unit
def test_the_splits_share_no_question() -> None:
    splits = [{row["question"] for row in build_functions(name, 200)} for name in ("dev", "test")]
    assert not splits[0] & splits[1]


@needs_walls
@pytest.mark.unit
def test_both_styles_of_solution_pass_their_own_tests() -> None:
    styles = set()
    for problem in SyntheticCode().load("dev")[:40]:
        styles.add(problem.solution.count("\n") > 1)
        assert trial_of(problem.solution, problem.gold).share == 1.0
    assert styles == {True, False}


@needs_walls
@pytest.mark.e2e
def test_a_model_learns_to_write_functions(tmp_path: Path) -> None:
    done = run_train(tmp_path, "code-tiny", "grpo.max_steps=20", "eval.limit=200")
    assert done.returncode == 0, done.stdout + done.stderr
    test = json.loads((tmp_path / "runs/code-tiny/results.json").read_text())["benchmarks"]["test"]
    # 60 steps and 512 problems gave 39 points.
    assert test["difference"]["points"] > 10
    assert test["difference"]["p_value"] < 0.001


@needs_walls
@pytest.mark.unit
def test_the_recipe_for_mbpp_reads_its_rows(tmp_path: Path) -> None:
    """Rows of MBPP's form: they cannot be fetched here."""
    from onecard.data.source import open_source
    from onecard.recipe.file import load_recipe

    rows = [
        {
            "task_id": number,
            "text": "Write a function to add two numbers.",
            "code": "import math\ndef add(a, b):\n    return a + b",
            "test_list": [f"assert add({number}, 2) == {number + 2}", "assert add(0, 0) == 0"],
            "test_setup_code": "",
            "challenge_test_list": [],
        }
        for number in range(3)
    ]
    folder = tmp_path / "mbpp"
    folder.mkdir()
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = load_recipe(ROOT / "recipes/code-mbpp.yaml", [f"data.path={folder}"])
    problem = open_source(recipe.data, recipe.answer.kind).load("test")[1]
    assert problem.question.endswith("It must pass this test: assert add(1, 2) == 3")
    assert problem.kind == "code"
    assert trial_of(problem.solution, problem.gold).share == 1.0
