"""Is this machine able to train, and what exactly is missing? `python -m onecard.doctor [RECIPE]`;
exit code 1 if it is not.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from onecard.card.memory import plan_memory
from onecard.console.command import run_command
from onecard.machine.gpu import GIB, Card, check_card, driver_cuda_version, find_cards, has_bf16
from onecard.machine.models import load_shape
from onecard.recipe import Recipe
from onecard.recipe_file import load_recipe
from onecard.types import UserError

ROOT = Path(__file__).parent.parent
DISK_NEEDED = 20 * GIB  # a 7B model, its cache and a few checkpoints
SHARED_NEEDED = GIB
ESSENTIAL = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "bitsandbytes",
    "unsloth",
    "unsloth_zoo",
    "datasets",
    "accelerate",
)


@dataclass(frozen=True)
class Finding:
    """`ok`: True, False (training cannot start), or None (it can, but this is worth knowing).
    `remedy`: what to type.
    """

    about: str
    ok: bool | None
    text: str
    remedy: str = ""


def examine(recipe: Recipe | None) -> Iterator[Finding]:
    """All findings, in the order in which a person would look."""
    cards = find_cards()
    yield check_python()
    yield from check_cards(cards, recipe)
    yield from check_packages(
        bool(cards), with_vllm=bool(cards) and recipe is not None and recipe.model.fast_inference
    )
    if cards:
        yield from check_torch_build(cards)
        yield from check_compiler()
        yield from check_holders()
    yield from check_places()
    yield check_token()


def check_python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding(
        "Python",
        sys.version_info[:2] == (3, 11),
        found,
        "use Python 3.11: the locks are made for it",
    )


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


def check_packages(on_card: bool, with_vllm: bool) -> Iterator[Finding]:
    """The installed versions against the lock that this machine's kind of installation comes
    from.
    """
    lock = "requirements.txt" if on_card or is_installed("vllm") else "requirements-cpu.txt"
    missing = [
        name for name in (*ESSENTIAL, *(["vllm"] if with_vllm else [])) if not is_installed(name)
    ]
    remedy = (
        f"pip install --no-deps {'--require-hashes ' if lock == 'requirements.txt' else ''}-r"
        f" {lock}"
    )
    if missing:
        yield Finding("packages", False, f"missing: {', '.join(missing)}", remedy)
        return
    locked = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", read(ROOT / lock), flags=re.MULTILINE)
    if not locked:
        yield Finding(
            "packages",
            None,
            f"there is no {lock} here to hold them against",
            "run this in a checkout of Onecard",
        )
        return
    other = [
        f"{name} {version(name)} ({wanted} in the lock)"
        for name, wanted in locked
        if is_installed(name) and base(version(name)) != wanted
    ]
    absent = [name for name, _ in locked if not is_installed(name)]
    if other or absent:
        text = "; ".join(
            [
                *other[:5],
                *([f"{len(other) - 5} more"] if len(other) > 5 else []),
                *([f"not installed: {', '.join(absent[:5])}"] if absent else []),
            ]
        )
        yield Finding("packages", None, f"not as in {lock}: {text}", remedy)
    else:
        yield Finding("packages", True, f"all {len(locked)} as in {lock}")


def check_torch_build(cards: list[Card]) -> Iterator[Finding]:
    """Whether torch is a CUDA build that the driver can run; read from its files, since importing
    it takes seconds.
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
    """What Triton needs at run time: a C compiler, Python's headers, and a libcuda that a linker
    finds.
    """
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


def check_places() -> Iterator[Finding]:
    """Room and rights where a run writes: its folder, the model cache, shared memory."""
    cache = Path(os.environ.get("HF_HOME", Path.home() / ".cache/huggingface"))
    for about, place in (("runs", Path("runs").absolute()), ("model cache", cache)):
        there = next(parent for parent in (place, *place.parents) if parent.exists())
        free = shutil.disk_usage(there).free
        if not os.access(there, os.W_OK):
            yield Finding(
                about,
                False,
                f"{there} cannot be written by user {os.getuid()}",
                f"sudo chown -R {os.getuid()} {there}",
            )
        else:
            ok = True if free >= DISK_NEEDED else None
            yield Finding(
                about,
                ok,
                f"{place}, {free / GIB:.0f} GiB free",
                "" if ok else "a 7B model takes about 20 GiB with its cache",
            )
    shared = Path("/dev/shm")
    if shared.is_dir():
        total = shutil.disk_usage(shared).total
        ok = True if total >= SHARED_NEEDED else None
        yield Finding(
            "shared memory",
            ok,
            f"{total / GIB:.1f} GiB",
            "" if ok else "docker run --shm-size 2g ...",
        )


def check_token() -> Finding:
    """Whether there is a hub token; its value is never shown."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache/huggingface"))
    if os.environ.get("HF_TOKEN"):
        return Finding("hub token", True, "in HF_TOKEN")
    if (home / "token").is_file():
        return Finding("hub token", True, f"in {home / 'token'}")
    return Finding(
        "hub token", None, "none; only gated models, such as Llama, need one", "export HF_TOKEN=..."
    )


def is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def base(found: str) -> str:
    """A version without its local part: 2.13.0+cpu is 2.13.0."""
    return found.partition("+")[0]


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m onecard.doctor", description=__doc__)
    parser.add_argument("recipe", nargs="?", help="also say whether this recipe can train here")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value of the recipe; may be repeated",
    )
    args = parser.parse_args(arguments)
    return run_command(lambda: tell(load_recipe(args.recipe, args.set) if args.recipe else None))


def tell(recipe: Recipe | None) -> int:
    findings = list(examine(recipe))
    for finding in findings:
        mark = {True: "ok", False: "NO", None: "--"}[finding.ok]
        print(f"{mark}  {finding.about:<14} {finding.text}")
        if finding.remedy and not finding.ok:
            print(f"{'':<19}{finding.remedy}")
    failed = [finding.about for finding in findings if finding.ok is False]
    what = recipe.name if recipe else "training"
    print(f"\n{what} cannot start: {', '.join(failed)}" if failed else f"\n{what} can start")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
