"""What a run on a CPU takes of memory, beside what --plan says.

python -m bench.laptop_memory FOLDER

FOLDER is a model's, as ../shared/tools/real_model makes one. Each case is two steps of SFT and of
GRPO of a real-model recipe; the peak of each phase is what the system says the process held
(VmHWM). The table goes to docs/laptop-memory.md. About 7 minutes.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.real import settings_of
from onecard.files.atomic import write_atomic
from onecard.machine.gpu import GIB
from onecard.machine.model_shapes import load_shape
from onecard.machine.precision import choose_precision
from onecard.plan.laptop_memory import plan_laptop
from onecard.recipe.file import load_recipe

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docs/laptop-memory.md"
FEW = ("sft.max_steps=2", "grpo.max_steps=2", "eval.limit=128", "pilot=0", "health.stop_on=[]")
CASES: dict[str, tuple[str, ...]] = {
    "smollm2-gym": (),
    "smollm2-svamp": (),
    "smollm2-svamp, 4-bit": ("model.load_in_4bit=true",),
    "smollm2-svamp, all in one micro-batch": (
        "grpo.per_device_train_batch_size=128",
        "grpo.gradient_accumulation_steps=1",
    ),
    "smollm2-svamp, checkpointing": ("grpo.gradient_checkpointing=true",),
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
    model = sys.argv[1]
    shape = load_shape(model)
    assert shape is not None
    precision = choose_precision([])
    lines = []
    for name, changes in CASES.items():
        file = name.split(",")[0]
        settings = [*settings_of(file, model), *FEW, *changes]
        recipe = load_recipe(f"{ROOT}/recipes/{file}.yaml", settings, say=print)
        planned = plan_laptop(recipe, shape, precision)
        with tempfile.TemporaryDirectory() as folder:
            peaks = measure(file, settings, Path(folder))
        measured = max(peaks.values())
        cells = [
            name,
            *(
                f"{planned[phase] / GIB:.1f} / {peaks[name] / GIB:.1f}"
                for phase, name in PHASES.items()
            ),
        ]
        highest = max(planned.values())
        cells += [f"{highest / GIB:.1f} / {measured / GIB:.1f}", f"{highest / measured:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    text = f"""# What a run on a CPU takes of memory

`python -m bench.laptop_memory FOLDER` made this table, with SmolLM2-135M-Instruct in
{precision}, two steps of each stage. GiB, as `--plan` has it / as the system measured it.

| run | SFT | GRPO | evaluation | peak | planned : measured |
|---|---|---|---|---|---|
""" + "\n".join(lines)
    write_atomic(FILE, text + "\n")


if __name__ == "__main__":
    main()
