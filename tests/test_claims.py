"""What Onecard says of itself, shown: the demo learns, and real GSM8K rows go through the same
code.
"""

import json
from pathlib import Path

import pytest
from conftest import ROOT, run_train

pytestmark = pytest.mark.e2e


def test_the_demo_learns(tmp_path: Path) -> None:
    done = run_train(tmp_path, "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "runs/tiny/results.json").read_text())
    tiny = results["benchmarks"]["tiny"]
    assert tiny["n"] >= 300
    assert tiny["difference"]["points"] >= 25
    assert tiny["difference"]["p_value"] < 0.001
    assert tiny["flexible_difference"]["points"] >= 25
    assert tiny["after"]["step_by_step"] > tiny["before"]["step_by_step"]
    assert results["peak_memory_gib"] <= 4
    steps = [
        json.loads(line) for line in (tmp_path / "runs/tiny/metrics.jsonl").read_text().splitlines()
    ]
    rewards = [step["reward"] for step in steps if "reward" in step]
    assert sum(rewards[-10:]) > sum(rewards[:10])


def test_real_gsm8k_rows_train_and_evaluate(tmp_path: Path) -> None:
    folder = ROOT / "../shared/data/gsm8k"
    if not folder.is_dir():
        pytest.skip("the original GSM8K files are not in ../shared/data/gsm8k")
    short = (
        "grpo.max_steps=1",
        "eval.limit=16",
        "pilot=0",
        "grpo.max_completion_length=32",
        "data.max_prompt_length=200",
    )
    done = run_train(
        tmp_path,
        "gsm8k-tiny",
        f"data.path={folder}",
        "sft.max_steps=4",
        "eval.max_completion_length=32",
        *short,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6,979 training problems" in done.stdout  # 7,473 without the dev split
    results = json.loads((tmp_path / "runs/gsm8k-tiny/results.json").read_text())
    used = results["training_problems"]["used"]
    assert results["training_problems"]["read"] == 6979 > used > 5000
    assert f"{6979 - used:,} prompts longer than 200 tokens are left out of training" in done.stdout
    benchmark = results["benchmarks"]["gsm8k"]
    assert benchmark["n"] == 16
    assert benchmark["after"]["accuracy"] <= 0.25
    items = [
        json.loads(line)
        for line in (
            (tmp_path / "runs/gsm8k-tiny/eval/gsm8k-after/items.jsonl").read_text().splitlines()
        )
    ]
    assert items[0]["gold"] == "18"
    assert items[0]["question"].startswith("Janet\u2019s ducks")
