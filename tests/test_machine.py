"""What is decided about the machine: the number format, and how its threads wait."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onecard.machine import precision
from onecard.machine.gpu import Card
from onecard.machine.precision import choose_precision

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent
FLAGS = {"x86_64": "flags\t\t: fpu avx2 {}\n", "aarch64": "Features\t: fp asimd {}\n"}


def card(major: int, minor: int) -> list[Card]:
    return [Card("a card", 8 * 2**30, (major, minor))]


def test_a_card_computes_in_bf16_where_it_has_it() -> None:
    assert choose_precision(card(8, 0)) == "bf16"
    assert choose_precision(card(9, 0) + card(7, 5)) == "bf16"  # the first one counts
    assert choose_precision(card(7, 5)) == "fp16"


@pytest.mark.parametrize(
    ("machine", "flag", "chosen"),
    [
        ("x86_64", "avx512_bf16", "bf16"),
        ("x86_64", "amx_bf16", "bf16"),
        ("x86_64", "avx512f", "fp32"),
        ("x86_64", "bf16", "fp32"),  # the name of another machine's flag
        ("aarch64", "bf16", "bf16"),
        ("aarch64", "asimdhp", "fp32"),
        ("riscv64", "bf16", "fp32"),
    ],
)
def test_a_cpu_computes_in_bf16_only_in_hardware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, flag: str, chosen: str
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\n" + FLAGS.get(machine, FLAGS["x86_64"]).format(flag))
    monkeypatch.setattr(precision, "CPU_INFO", file)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert choose_precision([]) == chosen
    file.unlink()
    assert choose_precision([]) == "fp32"


@pytest.mark.parametrize(
    ("own", "found"),
    [
        ({}, "3000 None"),
        ({"GOMP_SPINCOUNT": "7"}, "7 None"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE"),
    ],
)
@pytest.mark.parametrize("module", ["train", "eval.__main__", "rewards.scoring", "bench.steps"])
def test_openmp_s_threads_sleep_soon_while_they_wait(
    module: str, own: dict[str, str], found: str
) -> None:
    """Before torch is imported, which reads it once; somebody's own value goes first."""
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {key: value for key, value in os.environ.items() if key not in names} | own
    code = (
        f"import {module}, os, sys; assert 'torch' not in sys.modules;"
        f" print(*map(os.environ.get, {names}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == found, done.stderr
