"""What a run on a CPU takes of memory, beside what --plan says.

python -m bench.laptop_memory FOLDER    all that is missing
python -m bench.laptop_memory           the page, from what is there

FOLDER is a model's, as ../shared/tools/real_model makes one. Each case is some steps of SFT and two
of GRPO of a real-model recipe; the peak of each phase is what the system says the process held
(VmHWM). It is kept in docs/laptop-memory.json, case by case; about 20 minutes. The page,
docs/laptop-memory.md, has them, and the peaks of the whole runs of docs/real-model.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.real import settings_of
from onecard.files.atomic import write_atomic
from onecard.files.formats import write_json
from onecard.machine.gpu import GIB
from onecard.machine.model_shapes import load_shape
from onecard.machine.precision import Precision, choose_precision
from onecard.plan.laptop_memory import plan_laptop
from onecard.recipe.file import load_recipe

ROOT = Path(__file__).parent.parent
FILE, FOUND = ROOT / "docs/laptop-memory.md", ROOT / "docs/laptop-memory.json"
RUNS = ROOT / "docs/real-model"
WHOLE = ("smollm2-gym", "smollm2-svamp")
# Of SFT some more: texts are not all of one length, and memory rises until the longest have come.
FEW = ("sft.max_steps=12", "grpo.max_steps=2", "eval.limit=128", "pilot=0", "health.stop_on=[]")
CASES: dict[str, tuple[str, ...]] = {
    "smollm2-gym": (),
    "smollm2-svamp": (),
    "smollm2-svamp, 4-bit": ("model.load_in_4bit=true",),
    "smollm2-svamp, SFT in four parts": ("sft.gradient_accumulation_steps=4",),
    "smollm2-svamp, all in one micro-batch": (
        "grpo.per_device_train_batch_size=128",
        "grpo.gradient_accumulation_steps=1",
    ),
    "smollm2-svamp, checkpointing": ("grpo.gradient_checkpointing=true",),
    "smollm2-gsm8k": ("eval.limit=16",),
}
PHASES = {"SFT": "SFT", "GRPO": "GRPO", "evaluation": "evaluation after"}  # the plan's, a run's


def measure(recipe: str, settings: list[str], folder: Path) -> dict[str, float]:
    """The peak of each phase of a run, in bytes."""
    options = [part for setting in settings for part in ("--set", setting)]
    code = "from bench.laptop_memory import run; run()"
    subprocess.run(
        [sys.executable, "-c", code, f"{ROOT}/recipes/{recipe}.yaml", *options],
        cwd=folder,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    peaks: dict[str, float] = json.loads((folder / "peaks.json").read_text(encoding="utf-8"))
    return peaks


def run() -> None:
    """In a process of its own: a run that notes at the end of each phase how high memory went."""
    from onecard.run.folder import Run
    from train import main

    peaks: dict[str, float] = {}
    phase = Run.phase

    @contextmanager
    def noted(self: Run, name: str) -> Iterator[None]:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forgets the peak
        with phase(self, name):
            yield
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        peaks[name] = int(peak) * 1024

    Run.phase = noted  # type: ignore[method-assign]
    sys.argv[0] = "train.py"
    assert main() == 0
    Path("peaks.json").write_text(json.dumps(peaks), encoding="utf-8")


def main() -> None:
    found = json.loads(FOUND.read_text(encoding="utf-8")) if FOUND.is_file() else {}
    for name, changes in CASES.items() if len(sys.argv) > 1 else ():
        if name in found:
            continue
        file = name.split(",")[0]
        with tempfile.TemporaryDirectory() as folder:
            settings = [*settings_of(file, sys.argv[1]), *FEW, *changes]
            peaks = measure(file, settings, Path(folder))
        gib = {phase: round(peaks[of_run] / GIB, 1) for phase, of_run in PHASES.items()}
        found[name] = {"precision": choose_precision([])} | gib
        write_json(FOUND, found)
        print(name, found[name], flush=True)
    write_atomic(FILE, page(found))


def page(found: dict[str, dict[str, Any]]) -> str:
    lines = [HEAD]
    for recipe in WHOLE:
        planned = {one: max(plan(recipe, (), one).values()) for one in ("bf16", "fp32")}
        for file in sorted(RUNS.glob(f"{recipe}-[0-9].json")):
            run = json.loads(file.read_text(encoding="utf-8"))
            peak, expected = run["peak_memory_gib"], planned[run["precision"]]
            cells = [file.stem, run["precision"], f"{expected:.1f}", f"{peak:.1f}"]
            lines.append(f"| {' | '.join(cells)} | {expected / peak:.2f} |")
    lines += ["", SHORT]
    for name, measured in found.items():
        phases = plan(name.split(",")[0], CASES[name], measured["precision"])
        cells = [f"{phases[phase]:.1f} / {measured[phase]:.1f}" for phase in PHASES]
        lines.append(f"| {name} | {measured['precision']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plan(recipe: str, changes: Sequence[str], precision: Precision) -> dict[str, float]:
    """GiB of each phase."""
    asked = load_recipe(ROOT / f"recipes/{recipe}.yaml", list(changes))
    shape = load_shape(asked.model.name)
    assert shape is not None
    return {name: size / GIB for name, size in plan_laptop(asked, shape, precision).items()}


HEAD = """# What a run on a CPU takes of memory

Made by `python -m bench.laptop_memory`. GiB. `--plan` counts texts and completions as long as the
recipe lets them be; shorter ones take less. What the system measured is the most that the process
held at once.

Whole runs, those of [real-model.md](real-model.md):

| run | computes in | planned | measured | planned : measured |
|---|---|---|---|---|"""
SHORT = """Short ones, planned / measured: twelve steps of SFT, then two of GRPO. A process does not
give back what it held before, and it holds the more, the longer it trains: so most of these are
lower than the plan, which is for whole runs.

| run | computes in | SFT | GRPO | evaluation |
|---|---|---|---|---|"""


if __name__ == "__main__":
    main()
