"""Does health tell what is wrong with a run? Each alarm in a run that deserves it, and none in one
that does not. `make alarms`

All are the tiny recipe on the model that its SFT left, with one thing wrong; what was told goes
to docs/alarms.md.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from onecard.files.formats import read_jsonl

ROOT = Path(__file__).parent.parent
DEV = "eval.every_steps=10"


def rewards(*entries: str) -> str:
    return f"rewards=[{', '.join(entries)}]"


def custom(function: str) -> str:
    return f"{{name: custom, function: {ROOT}/bench/alarm_rewards.py:{function}}}"


@dataclass(frozen=True)
class Fault:
    """What is wrong, by settings; and what has to be told, besides which more may be."""

    what: str
    settings: tuple[str, ...]
    expected: frozenset[str]


FAULTS = (
    Fault(
        "a learning rate 5 times as high",
        ("grpo.learning_rate=5e-3", DEV),
        frozenset({"accuracy_falls", "reward_flat", "pass_at_g_flat"}),
    ),
    Fault("20 times as high", ("grpo.learning_rate=2e-2", DEV), frozenset({"kl", "skipped_steps"})),
    Fault(
        "paid by a coin",
        (rewards("{name: random}"), DEV),
        frozenset({"accuracy_falls", "reward_flat"}),
    ),
    Fault(
        "paid for the format alone",
        (rewards("{name: think_format}"), DEV),
        frozenset({"no_signal", "adapter_unchanged"}),
    ),
    Fault(
        "paid for one answer, whatever was asked",
        (rewards(custom("says_twelve")), "pilot=0", DEV),
        frozenset({"reward_hacking"}),
    ),
    Fault(
        "16 training problems",
        ("data.train_problems=16", "grpo.learning_rate=2e-3", "grpo.beta=0", DEV),
        frozenset({"overfitting"}),
    ),
    Fault(
        "one completion in a thousand is paid 1000, unscaled",
        (
            rewards("{name: correct_answer}", custom("jackpot")),
            "grpo.scale_rewards=none",
            "grpo.max_steps=40",
        ),
        frozenset({"grad_spikes"}),
    ),
    Fault(
        "completions of 12 tokens at most",
        ("grpo.max_completion_length=12", "grpo.max_steps=20"),
        frozenset({"completions_cut"}),
    ),
    Fault(
        "a format reward for tags that it was not shown",
        (
            rewards(
                "{name: correct_answer}", "{name: think_format, weight: 0}", custom("other_format")
            ),
            "grpo.max_steps=25",
        ),
        frozenset({"format_unpaid"}),
    ),
    Fault(
        "a reward that keeps 300 kB a completion",
        (
            rewards("{name: correct_answer}", custom("keeps")),
            "health.memory_settles=20",
            "grpo.max_steps=70",
        ),
        frozenset({"memory_climbs"}),
    ),
    Fault(
        "a reward that pays all alike",
        (rewards(custom("alike")), "pilot=0", "health.stop_on=[]", "grpo.max_steps=25"),
        frozenset({"skipped_steps", "reward_blind"}),
    ),
)
ELSEWHERE = {
    "tokens_rejected": "needs vLLM, and Unsloth's trainer for a card",
    "sampling_drift": "needs vLLM: `make rehearse` takes the adapter's hand-over away",
    "reward_model_hacked": "in the arm hacked-reward-model of docs/experiments.md",
    "entropy_collapse": (
        "by made-up histories alone (tests/test_health.py): here groups were all alike before"
        " entropy was at 5 %"
    ),
}


def run(name: str, settings: tuple[str, ...]) -> Path:
    """A run of the tiny recipe, in runs/NAME."""
    arguments = [part for setting in settings for part in ("--set", setting)]
    subprocess.run(
        [sys.executable, "train.py", "recipes/tiny.yaml", "--name", name, *arguments],
        cwd=ROOT,
        check=True,
    )
    return ROOT / "runs" / name


def told(folder: Path) -> dict[str, int]:
    """The warnings and alarms of a run, and the step at which each was told first."""
    found: dict[str, int] = {}
    for line in read_jsonl(folder / "health.jsonl"):
        if line["level"] != "note":
            found.setdefault(line["name"], line["step"])
    return found


def row(what: str, folder: Path) -> str:
    scores = json.loads((folder / "results.json").read_text(encoding="utf-8"))["benchmarks"]["tiny"]
    accuracy = " -> ".join(f"{100 * scores[when]['accuracy']:.0f}" for when in ("before", "after"))
    return (
        f"| {what} |"
        f" {', '.join(f'{name} ({step})' for name, step in told(folder).items()) or 'nothing'} |"
        f" {accuracy} % |"
    )


def main() -> int:
    started = time.strftime("%Y%m%d-%H%M%S")
    # On the shifted problems the recipe makes its model worse, and that is told.
    well = run(f"alarms-{started}", ("eval.benchmarks=[tiny]", DEV))
    model = (f"model.name={well / 'base-model'}", "sft=null", "eval.benchmarks=[tiny]")
    rows, missing = (
        [row("nothing", well)],
        [f"nothing is wrong, and it told {', '.join(told(well))}"] if told(well) else [],
    )
    for number, fault in enumerate(FAULTS, start=1):
        folder = run(f"alarms-{started}-{number}", (*model, *fault.settings))
        rows.append(row(fault.what, folder))
        if unsaid := fault.expected - told(folder).keys():
            missing.append(f"{fault.what}: not told: {', '.join(sorted(unsaid))}")
    lines = [
        "# What health told of runs with one thing wrong",
        "",
        (
            "Made by `make alarms` (bench/alarms.py has the settings): the tiny recipe from its"
            " model after SFT, 20 to 80 steps. Accuracy is"
        ),
        "greedy, on the 512 test problems. Notes, which explain and warn of nothing, are left out.",
        "",
        "| what is wrong | told, at step | accuracy |",
        "|---|---|---|",
        *rows,
        "",
        *(f"- {name}: {why}" for name, why in ELSEWHERE.items()),
    ]
    file = ROOT / "docs/alarms.md"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n" + "\n".join([*lines[5:], "", *missing, f"written to {file.relative_to(ROOT)}"]))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
