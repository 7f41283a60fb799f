"""Every loss of TRL trains, and none is another one under its name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from conftest import ROOT, ShortRun, another_process, begin_offline, no_sft

from onecard.files.formats import read_jsonl
from onecard.stages.losses import LOSSES, Loss
from onecard.stages.trl.fields import package_folder

pytestmark = pytest.mark.e2e

COMPANIONS = {
    "dr_grpo": ("grpo.scale_rewards=none",),
    "cispo": ("grpo.epsilon_high=5.0",),
    "luspo": ("grpo.importance_sampling_level=sequence",),
}
WAYS = {str(loss): (f"grpo.loss_type={loss}", *COMPANIONS.get(loss, ())) for loss in LOSSES} | {
    "gspo": ("grpo.loss_type=grpo", "grpo.importance_sampling_level=sequence"),
    "the least sure fifth": ("grpo.top_entropy_quantile=0.2",),
    "each reward normalised": ("grpo.multi_objective_aggregation=normalize_then_sum",),
    "accepted or not": ("grpo.credit=accepted",),
    "step by step": ("grpo.credit=steps",),
}


def train(folder: Path, settings: tuple[str, ...]) -> int:
    """`python train.py` in this process, in `folder`."""
    import os
    import sys

    from train import main

    os.chdir(folder)
    asked = [part for setting in settings for part in ("--set", setting)]
    sys.argv = ["train.py", str(ROOT / "recipes/tiny.yaml"), *asked]
    return main()


@pytest.fixture(scope="module")
def trained(
    short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Path]]:
    """Four steps of each loss, over two batches of completions, from the same model."""
    steps = (
        "grpo.max_steps=4",
        "grpo.num_iterations=2",
        "grpo.per_device_train_batch_size=32",
        "grpo.gradient_accumulation_steps=2",
        "grpo.learning_rate=3e-3",
        "eval.limit=4",
    )
    runs = {}
    with another_process(begin_offline) as call:
        for name, settings in WAYS.items():
            folder = tmp_path_factory.mktemp("loss")
            assert call(train, folder, (*no_sft(short_run), *steps, *settings)) == 0
            runs[name] = folder / "runs/tiny"
        yield runs


def test_every_loss_of_trl_is_here() -> None:
    assert set(LOSSES) == set(get_args(Loss))
    source = (package_folder("trl") / "trainer/grpo_trainer.py").read_text(encoding="utf-8")
    choices = re.findall(r'self\.loss_type (?:==|in) (\[[^]]*\]|"[^"]*")', source)
    assert set(LOSSES) == set(re.findall(r'"(\w+)"', " ".join(choices)))


@pytest.mark.parametrize("name", WAYS)
def test_it_trains(trained: dict[str, Path], name: str) -> None:
    steps: list[dict[str, Any]] = [
        line for line in read_jsonl(trained[name] / "metrics.jsonl") if "grad_norm" in line
    ]
    assert len(steps) == 4
    assert all(0 < step["grad_norm"] < 1e3 for step in steps)
    assert steps[-1]["adapter/lora_b_norm"] > 0


def test_no_two_of_them_are_the_same(trained: dict[str, Path]) -> None:
    adapters = {
        name: (run / "adapter/adapter_model.safetensors").read_bytes()
        for name, run in trained.items()
    }
    assert len(set(adapters.values())) == len(WAYS)
