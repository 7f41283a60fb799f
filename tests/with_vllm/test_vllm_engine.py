"""The vLLM engine for real, with vLLM's CPU build: `make test-vllm` makes an environment of its own for it.

A short run of the tiny recipe, made by the other environment, gives a base model and an adapter that visibly changes it.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, run_eval

pytest.importorskip("vllm", reason="vLLM is not installed here; `make test-vllm` installs its CPU build and runs this")
SETTINGS = ("warmup.max_steps=150", "grpo.max_steps=10", "eval.limit=8", "eval.benchmarks=[tiny]", "data.train_problems=3000")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("vllm")
    python = ROOT / ".venv/bin/python"
    options = [part for setting in SETTINGS for part in ("--set", setting)]
    subprocess.run([str(python), str(ROOT / "train.py"), str(ROOT / "recipes/tiny.yaml"), *options], cwd=cwd, check=True, timeout=600)
    return cwd / "runs/tiny"


def completions(run: Path, engine: str, *arguments: str) -> list[str]:
    """256 greedy completions of the tiny benchmark by an engine, in 32 bit."""
    out = run.parent / f"{engine}-{len(list(run.parent.iterdir()))}"
    asked = ("--benchmark", "tiny", "--limit", "256", "--no-load-in-4bit", "--engine", engine, "--out", str(out), "--recipe")
    done = run_eval(run.parent, *arguments, *asked, str(run / "recipe.resolved.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    file = next(out.glob("*/items.jsonl"))
    found: list[dict[str, Any]] = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    assert len(found) == 256
    return [item["completion"] for item in found]


def agreement(one: list[str], other: list[str]) -> float:
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


def test_vllm_writes_what_transformers_writes(run: Path) -> None:
    """Base alone, base and adapter, and the two merged; and the adapter is heard: without it most completions are others."""
    base, tuned = completions(run, "transformers", str(run), "--base"), completions(run, "transformers", str(run))
    assert agreement(base, tuned) < 0.6
    assert agreement(completions(run, "vllm", str(run), "--base"), base) >= 0.95
    assert agreement(completions(run, "vllm", str(run)), tuned) >= 0.95
    merge = (
        "from peft import PeftModel; from transformers import AutoModelForCausalLM, AutoTokenizer; import sys; run = sys.argv[1];"
        "model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(run + '/base-model'), run + '/adapter');"
        "model.merge_and_unload().save_pretrained(run + '/merged');"
        "AutoTokenizer.from_pretrained(run + '/adapter').save_pretrained(run + '/merged')"
    )
    subprocess.run([sys.executable, "-c", merge, str(run)], check=True, timeout=120)
    assert agreement(completions(run, "vllm", str(run / "merged")), tuned) >= 0.95
