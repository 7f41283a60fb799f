"""What a busy core beside it costs a run: python -m bench.beside

Steps of the tiny recipe on this machine's CPU, alone and beside one busy process; with OpenMP's
threads spinning while they wait for each other, as long as libgomp has it by default and as
onecard/__init__.py has it, and with them asleep. The runs take turns, step by step, and the others
stand still meanwhile: a machine's own swings are larger than what is looked for, but slower. Prints
seconds a step and ratios, and writes docs/beside.md. About 12 minutes; nothing else should be busy.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from onecard.files.atomic import write_atomic
from onecard.machine.packages import versions

ROOT = Path(__file__).parent.parent
# libgomp's own number of turns before a waiting thread sleeps, where OMP_WAIT_POLICY is not set.
POLICIES: dict[str, dict[str, str]] = {
    "spin 300,000 turns (libgomp)": {"GOMP_SPINCOUNT": "300000"},
    "spin 3,000 turns (Onecard)": {"GOMP_SPINCOUNT": "3000"},
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
}
FIRST_STEPS = 2  # left out: what is loaded on first use falls into them
STEPS = 76  # every fourth one beside a busy core
SETTINGS = (
    "sft.max_steps=20",
    f"grpo.max_steps={FIRST_STEPS + STEPS + 5}",
    "data.train_problems=600",
    "eval.benchmarks=[tiny]",
    "eval.limit=8",
    "pilot=0",
    "health.stop_on=[]",
)


class Run:
    """A run that goes on for one step at a time. The same one in each: to the bit, but its pace."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        options = [part for setting in SETTINGS for part in ("--set", setting)]
        self.metrics = folder / "runs/tiny/metrics.jsonl"
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), str(ROOT / "recipes/tiny.yaml"), *options],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdout=subprocess.DEVNULL,
        )

    def steps(self) -> int:
        """How many GRPO steps are done."""
        if not self.metrics.exists():
            return 0
        return self.metrics.read_text(encoding="utf-8").count('"time/generation"')

    def go_on(self) -> float:
        """The seconds of its next step."""
        wanted, started = self.steps() + 1, time.perf_counter()
        self.process.send_signal(signal.SIGCONT)
        while self.steps() < wanted:
            if self.process.poll() is not None:
                sys.exit(f"a run ended with exit code {self.process.returncode}")
            time.sleep(0.005)
        self.process.send_signal(signal.SIGSTOP)
        return time.perf_counter() - started


def measure() -> dict[str, dict[str, list[float]]]:
    """Seconds of each step, [where][policy]: a step is the same one under every policy."""
    found: dict[str, dict[str, list[float]]] = {
        where: {name: [] for name in POLICIES} for where in ("alone", "beside")
    }
    runs: dict[str, Run] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for number, (name, environment) in enumerate(POLICIES.items()):
                own = Path(folder) / str(number)
                own.mkdir()
                runs[name] = Run(environment, own)
                for _ in range(FIRST_STEPS):
                    runs[name].go_on()
            order = list(POLICIES)
            for step in range(STEPS):
                where = "beside" if step % 4 == 3 else "alone"
                busy = [sys.executable, "-c", "while True: pass"]
                neighbour = subprocess.Popen(busy) if where == "beside" else None
                try:
                    for name in order:
                        found[where][name].append(runs[name].go_on())
                finally:
                    if neighbour:
                        neighbour.kill()
                        neighbour.wait()
                order.append(order.pop(0))
                last = ", ".join(f"{name} {found[where][name][-1]:.2f} s" for name in POLICIES)
                print(f"step {step + 1}/{STEPS}, {where}: {last}", flush=True)
        finally:
            for run in runs.values():
                run.process.kill()
                run.process.wait()
    return found


def cell(found: dict[str, list[float]], name: str) -> str:
    """The median of the steps, and the quartiles of their ratios to libgomp's own policy."""
    default = found[next(iter(POLICIES))]
    ratios = sorted(ours / theirs for ours, theirs in zip(found[name], default, strict=True))
    low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
    return f"{median(found[name]):.2f} | {median(ratios):.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    found = measure()
    used = ", ".join(f"{name} {version}" for name, version in versions("torch").items())
    rows = [
        f"| {name} | {cell(found['alone'], name)} | {cell(found['beside'], name)} |"
        for name in POLICIES
    ]
    text = "\n".join(
        [
            "# A run beside other work",
            "",
            f"Made by `python -m bench.beside` on {os.cpu_count()} CPU cores ({used}): seconds a",
            f"step of the tiny recipe, medians of {STEPS - STEPS // 4} steps alone and of"
            f" {STEPS // 4} beside",
            "an endless loop. The runs take turns, step by step. A ratio is that of the same step,",
            "to libgomp's own policy: the median, and in brackets the quartiles.",
            "",
            "| OpenMP's threads, while they wait | alone | ratio | beside one busy core | ratio |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )
    write_atomic(ROOT / "docs/beside.md", text)
    print(text)


if __name__ == "__main__":
    main()
