"""The vLLM engine for real, with vLLM's CPU build: `make test-vllm` makes an environment of its own
for it.

A short run of the tiny recipe, made by the other environment, gives a base model and an adapter
that visibly changes it.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, agreement, variables

pytest.importorskip(
    "vllm",
    reason="vLLM is not installed here; `make test-vllm` installs its CPU build and runs this",
)
SETTINGS = (
    "sft.max_steps=150",
    "grpo.max_steps=10",
    "eval.limit=8",
    "eval.benchmarks=[tiny]",
    "data.train_problems=3000",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("vllm")
    python = ROOT / ".venv/bin/python"
    options = [part for setting in SETTINGS for part in ("--set", setting)]
    subprocess.run(
        [str(python), str(ROOT / "train.py"), str(ROOT / "recipes/tiny.yaml"), *options],
        cwd=cwd,
        check=True,
        timeout=600,
    )
    return cwd / "runs/tiny"


def completions(run: Path, engine: str, *arguments: str) -> list[str]:
    """256 greedy completions of the tiny benchmark by an engine, in 32 bit."""
    code = (
        "import sys\n"
        "from onecard.machine import precision\n"
        "precision.cpu_has_bf16 = lambda: False  # in bf16 two engines round differently\n"
        "from eval.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    out = run.parent / f"{engine}-{len(list(run.parent.iterdir()))}"
    asked = (
        "--benchmark",
        "tiny",
        "--limit",
        "256",
        "--no-load-in-4bit",
        "--engine",
        engine,
        "--out",
        str(out),
        "--recipe",
    )
    command = [sys.executable, "-c", code, *arguments, *asked, str(run / "recipe.resolved.yaml")]
    done = subprocess.run(
        command,
        cwd=run.parent,
        env=variables(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(next(out.glob("*/result.json")).read_text(encoding="utf-8"))
    assert result["model"]["dtype"] == "float32"
    file = next(out.glob("*/items.jsonl"))
    found: list[dict[str, Any]] = [
        json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line
    ]
    assert len(found) == 256
    return [item["completion"] for item in found]


def test_vllm_writes_what_transformers_writes(run: Path) -> None:
    """Base alone, base and adapter, and the two merged; and the adapter is heard: without it most
    completions are others.
    """
    base, tuned = (
        completions(run, "transformers", str(run), "--base"),
        completions(run, "transformers", str(run)),
    )
    assert agreement(base, tuned) < 0.6
    assert agreement(completions(run, "vllm", str(run), "--base"), base) >= 0.95
    assert agreement(completions(run, "vllm", str(run)), tuned) >= 0.95
    merge = (
        "from peft import PeftModel; from transformers import AutoModelForCausalLM, AutoTokenizer;"
        " import sys; run = sys.argv[1];model ="
        " PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(run + '/base-model'), run"
        " + '/adapter');model.merge_and_unload().save_pretrained(run +"
        " '/merged');AutoTokenizer.from_pretrained(run + '/adapter').save_pretrained(run +"
        " '/merged')"
    )
    subprocess.run([sys.executable, "-c", merge, str(run)], check=True, timeout=120)
    assert agreement(completions(run, "vllm", str(run / "merged")), tuned) >= 0.95


def test_requests_of_a_step_are_seeded_one_by_one_and_alike_after_a_resumption(run: Path) -> None:
    """One prompt asked four times in a step gives several answers; the same step in another process
    the same ones; another step others.
    """
    code = """
import sys, os
os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
from vllm import LLM, SamplingParams
from onecard.model.engines.vllm_requests import seed_requests
llm = LLM(model=sys.argv[1], dtype="float32", max_model_len=160, gpu_memory_utilization=0.3, seed=0)
step = [int(sys.argv[2])]
seed_requests(llm, 7, lambda: step[0])
prompts = [{"prompt_token_ids": [5, 6, 7, 8]}] * 4
for step[0] in (step[0], step[0] + 1):
    params = SamplingParams(temperature=1.0, max_tokens=24)
    outputs = llm.generate(prompts, sampling_params=params, use_tqdm=False)
    print("drawn", [list(output.outputs[0].token_ids) for output in outputs])
"""

    def drawn(first_step: int) -> list[str]:
        command = [sys.executable, "-c", code, str(run / "base-model"), str(first_step)]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return [line for line in done.stdout.splitlines() if line.startswith("drawn")]

    whole, resumed = drawn(1), drawn(2)
    assert whole[1] == resumed[0]
    assert len({*whole, *resumed}) == 3
    for line in whole:
        assert len({str(tokens) for tokens in json.loads(line.removeprefix("drawn "))}) > 1
