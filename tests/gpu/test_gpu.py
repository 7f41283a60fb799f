"""What only a card can show: `make gpu-check` runs this on a machine that has one. About five
minutes, no download.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, agreement, completions, run_eval, run_train

from onecard.machine.gpu import find_cards
from onecard.recipe.file import load_recipe

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not find_cards(), reason="no NVIDIA card is visible here"),
]


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """recipes/gpu-smoke.yaml, run as a person would."""
    cwd = tmp_path_factory.mktemp("gpu")
    done = run_train(cwd, "gpu-smoke", *request.config.getoption("--gpu-set"))
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-4000:]
    return cwd / "runs/gpu-smoke"


def test_the_smoke_recipe_trains_and_its_memory_stands_beside_the_plan(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    card = results["card"]
    print(
        f"{card['name']}: measured {card['measured_gib']} GiB, planned {card['planned_gib']} GiB;"
        f" seconds {results['seconds']}"
    )
    assert set(card["measured_gib"]) == {"generation", "training"}
    assert all(0 < gib < card["total_gib"] for gib in card["measured_gib"].values())
    if load_recipe(run / "recipe.resolved.yaml").model.fast_inference:
        # vLLM's cache was given back: training takes less than generation, which takes vLLM's whole
        # share.
        assert card["measured_gib"]["training"] < card["measured_gib"]["generation"]
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert sum("reward" in step for step in steps) == 10


def test_the_engine_answers_with_the_adapter_and_not_the_base(run: Path) -> None:
    """Before and after are asked through vLLM, where the recipe has it. The adapter was trained
    until what is written is visibly other.
    """
    before, after = completions(run / "eval/tiny-before"), completions(run / "eval/tiny-after")
    assert agreement(before, after) < 0.5


def test_other_code_hears_the_same_adapter(run: Path) -> None:
    """Base and adapter through transformers and PEFT, without Unsloth and vLLM: most completions
    begin alike.

    4-bit kernels and random weights make near ties, so that texts drift apart; the first eight
    characters are compared, which are the first word: one of 151,936.
    """
    for when, arguments in (("before", ("--base",)), ("after", ())):
        done = run_eval(
            run.parent,
            str(run),
            *arguments,
            "--limit",
            "64",
            "--engine",
            "transformers",
            "--out",
            str(run.parent / when),
        )
        assert done.returncode == 0, done.stderr[-4000:]
        again = completions(next((run.parent / when).glob("tiny*")))
        during = completions(run / f"eval/tiny-{when}")
        assert agreement([text[:8] for text in again], [text[:8] for text in during]) >= 0.7, when


def test_the_doctor_finds_nothing_missing(request: pytest.FixtureRequest) -> None:
    settings = [
        part for setting in request.config.getoption("--gpu-set") for part in ("--set", setting)
    ]
    command = [sys.executable, "-m", "onecard.doctor", "recipes/gpu-smoke.yaml", *settings]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0
    assert shutil.which("nvidia-smi") is None or "GiB free" in done.stdout
