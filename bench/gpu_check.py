"""Does everything that needs a card work on this one? `make gpu-check`

    python -m bench.gpu_check [--set KEY=VALUE]    with values of the recipe changed:
                                                   --set model.fast_inference=false needs no vLLM

The doctor, recipes/gpu-smoke.yaml and tests/gpu; then one screen. Exit code 0 where all passed.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from onecard.files.formats import read_jsonl
from onecard.machine.gpu import find_cards
from onecard.report.reading import card_text
from onecard.report.steps import split_steps

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "runs/gpu-check"  # pytest empties it first
SMOKE_RUN = FOLDER / "gpu0/runs/gpu-smoke"  # where the tests' first temporary folder is


def screen(doctor: int, tests: dict[str, str], run: Path) -> str:
    """What was found, for a person: the doctor's exit code, each test's outcome, and the smoke
    run's memory and seconds.
    """
    lines = [
        "",
        f"{'doctor':<9}{'nothing is missing' if doctor == 0 else 'FAILED: see its lines above'}",
    ]
    lines += [
        f"{outcome:<9}{name.removeprefix('test_').replace('_', ' ')}"
        for name, outcome in tests.items()
    ]
    if (run / "results.json").is_file():
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
        split = split_steps(read_jsonl(run / "metrics.jsonl"))
        lines += [f"{'memory':<9}{card_text(results['card']) or 'measured on no card'}"]
        lines += [f"{'pace':<9}{split or 'no step was timed'}"]
        phases = ", ".join(
            f"{phase} {seconds:.0f} s" for phase, seconds in results["seconds"].items()
        )
        lines += [f"{'phases':<9}{phases}"]
    else:
        lines += [f"{'smoke run':<9} left no results.json"]
    lines += ["", "PASS" if passed(doctor, tests) else "FAIL"]
    return "\n".join(lines)


def passed(doctor: int, tests: dict[str, str]) -> bool:
    return doctor == 0 and bool(tests) and set(tests.values()) == {"pass"}


def read_outcomes(file: Path) -> dict[str, str]:
    """Each test of a JUnit file: pass, FAIL or skipped; {} where pytest wrote none."""
    if not file.is_file():
        return {}
    found = {}
    for case in ElementTree.parse(file).getroot().iter("testcase"):
        failed = case.find("failure") is not None or case.find("error") is not None
        found[case.attrib["name"]] = (
            "FAIL" if failed else "skipped" if case.find("skipped") is not None else "pass"
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value of the recipe; may be repeated",
    )
    args = parser.parse_args()
    if not find_cards():
        print(
            "no NVIDIA card is visible here, so there is nothing to check; `python -m"
            " onecard.doctor` says what is missing"
        )
        return 1
    settings = [part for setting in args.set for part in ("--set", setting)]
    command = [sys.executable, "-m", "onecard.doctor", "recipes/gpu-smoke.yaml", *settings]
    doctor = subprocess.run(command, cwd=ROOT, check=False).returncode
    outcomes = ROOT / "runs/gpu-check.xml"
    outcomes.parent.mkdir(exist_ok=True)
    outcomes.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/gpu",
        "-s",
        f"--basetemp={FOLDER}",
        f"--junitxml={outcomes}",
    ]
    command += [f"--gpu-set={setting}" for setting in args.set]
    subprocess.run(command, cwd=ROOT, check=False)
    tests = read_outcomes(outcomes)
    print(screen(doctor, tests, SMOKE_RUN))
    return 0 if passed(doctor, tests) else 1


if __name__ == "__main__":
    sys.exit(main())
