"""The card, its driver, and what the programs that use it need."""

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from importlib.metadata import distribution, version
from pathlib import Path

from onecard.doctor.finding import Finding
from onecard.doctor.packages import is_installed, read
from onecard.machine.gpu import GIB, Card, check_card, driver_cuda_version, has_bf16
from onecard.machine.model_shapes import load_shape
from onecard.plan.memory import plan_memory
from onecard.recipe.schema import Recipe
from onecard.types import UserError


def check_cards(cards: list[Card], recipe: Recipe | None) -> Iterator[Finding]:
    wsl = "microsoft" in read(Path("/proc/version")).lower()
    cuda = driver_cuda_version()
    if wsl:
        yield Finding("WSL2", None, "the driver is Windows' own; install no Linux driver inside")
    yield Finding(
        "driver",
        None if cuda is None else True,
        f"supports CUDA {cuda}" if cuda else "no NVIDIA driver answers (libcuda.so.1)",
    )
    needed = recipe is not None and recipe.model.fast_inference
    try:
        check_card(cards, needed)
    except UserError as error:
        yield Finding(
            "card",
            False,
            str(error),
            "docker run --gpus all ..., or install NVIDIA's driver (CUDA 13) and reboot",
        )
        return
    if not cards:
        yield Finding(
            "card",
            None,
            "none: the tiny recipes train on the CPU, all others need one",
            "python train.py recipes/tiny.yaml",
        )
    for card in cards[:1]:
        precision = "bf16" if has_bf16(card) else "fp16: no bf16 before compute capability 8.0"
        yield Finding(
            "card",
            True,
            f"{card.name}, {card.memory / GIB:.1f} GiB, compute capability"
            f" {card.capability[0]}.{card.capability[1]}, {precision}",
        )
        shape = load_shape(recipe.model.name) if recipe else None
        if recipe and shape:
            plan = plan_memory(recipe, shape)
            verdict = plan.verdict(card.memory / GIB)
            text = f"{recipe.name}: {plan.peak / GIB:.1f} GiB planned, {verdict}"
            yield Finding(
                "memory plan",
                verdict != "does not fit",
                text,
                f"python train.py RECIPE --fit {card.memory / GIB:.0f}GB",
            )
    if len(cards) > 1:
        yield Finding(
            "cards",
            None,
            f"{len(cards)} are visible; Onecard uses the first",
            "CUDA_VISIBLE_DEVICES=1 chooses another",
        )


def check_torch_build(cards: list[Card]) -> Iterator[Finding]:
    """Whether torch is a CUDA build that the driver can run.

    Read from its files: importing torch takes seconds.
    """
    if not is_installed("torch"):
        return
    text = read(Path(str(distribution("torch").locate_file("torch/version.py"))))
    built = re.search(r"^cuda[^=]*= *'([0-9.]+)'", text, flags=re.MULTILINE)
    supported = driver_cuda_version()
    if built is None:
        yield Finding(
            "torch",
            False,
            f"{version('torch')} is a CPU build, but there is a card",
            "pip install --no-deps --require-hashes -r requirements.txt",
        )
    elif supported and int(built[1].split(".")[0]) > int(supported.split(".")[0]):
        yield Finding(
            "torch",
            False,
            f"built for CUDA {built[1]}, and the driver supports {supported} at most",
            "update NVIDIA's driver (580 or newer for CUDA 13)",
        )
    else:
        yield Finding("torch", True, f"{version('torch')}, built for CUDA {built[1]}")


def check_compiler() -> Iterator[Finding]:
    """What Triton needs at run time: a C compiler, Python's headers, a libcuda that links."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    yield Finding(
        "C compiler",
        compiler is not None,
        compiler or "none: Triton compiles its launcher with one",
        "apt install gcc libc6-dev",
    )
    yield Finding("Python.h", headers.is_file(), str(headers), "apt install python3.11-dev")
    folders = [
        *os.environ.get("LIBRARY_PATH", "").split(":"),
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib64",
        "/usr/lib/wsl/lib",
        "/usr/local/cuda/lib64/stubs",
    ]
    linkable = next(
        (folder for folder in folders if folder and (Path(folder) / "libcuda.so").exists()), None
    )
    remedy = (
        "ln -s /usr/lib/x86_64-linux-gnu/libcuda.so.1 /usr/local/lib/libcuda.so; export"
        " LIBRARY_PATH=/usr/local/lib"
    )
    yield Finding(
        "libcuda.so",
        None if linkable is None else True,
        linkable or "a linker finds no libcuda.so; Triton may need one",
        remedy,
    )


def check_holders() -> Iterator[Finding]:
    """Free memory of the first card and which processes hold the rest, as nvidia-smi tells."""
    if shutil.which("nvidia-smi") is None:
        return
    free = nvidia_smi("--query-gpu=memory.free,memory.total").split("\n")[0]
    holders = [
        line
        for line in nvidia_smi("--query-compute-apps=pid,process_name,used_memory").split("\n")
        if line.strip()
    ]
    megabytes = [int(number) for number in re.findall(r"[0-9]+", free)[:2]]
    if len(megabytes) == 2:
        ok = True if megabytes[0] >= 0.9 * megabytes[1] else None
        text = f"{megabytes[0] / 1024:.1f} of {megabytes[1] / 1024:.1f} GiB free"
        yield Finding(
            "free memory",
            ok,
            "; ".join([text, *holders]),
            "end what holds it (the numbers are process ids)" if holders else "",
        )


def nvidia_smi(query: str) -> str:
    done = subprocess.run(
        ["nvidia-smi", query, "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.stdout
