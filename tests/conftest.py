"""What several tests share: runs of train.py, made as a person makes them, and other processes."""

import ast
import io
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from small_hub import Hub

from eval.__main__ import main as eval_main
from eval.record import open_record
from eval.scores import scores
from onecard.files.formats import read_jsonl
from onecard.model.weights import identity
from onecard.types import EvalItem, Verdict

ROOT = Path(__file__).parent.parent
OFFLINE = {"HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
ShortRun = tuple[Path, str]  # a run folder, and what the run printed
Call = Callable[..., Any]  # a function of a test file and its arguments -> what it returns


def variables(*without: str) -> dict[str, str]:
    """The environment of a process that is offline and finds this house in any folder.

    Without what Unsloth sets in this one, where a test imported it: the hub warns of that.
    """
    left_out = (*without, "HF_HUB_ENABLE_HF_TRANSFER")
    kept = {name: text for name, text in os.environ.items() if name not in left_out}
    return kept | OFFLINE | {"PYTHONPATH": str(ROOT)}


def run_train(
    cwd: Path,
    recipe: str | Path,
    *settings: str,
    name: str | None = None,
    python: tuple[str, ...] = (str(ROOT / "train.py"),),
    extra: tuple[str, ...] = (),
    prefix: tuple[str, ...] = (),
    address_space_gib: int | None = None,
    file_size_kib: int | None = None,
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """recipes/<recipe>.yaml, or a file, with `settings`, in a process of its own, offline.

    `cwd` is the folder that gets runs/.
    """
    options = [part for setting in settings for part in ("--set", setting)] + (
        ["--name", name] if name else []
    )
    command = [
        *prefix,
        sys.executable,
        *python,
        str(recipe if isinstance(recipe, Path) else ROOT / f"recipes/{recipe}.yaml"),
        *options,
        *extra,
    ]
    limits = {"v": address_space_gib and address_space_gib * 2**20, "f": file_size_kib}
    if limit := " ".join(f"ulimit -{letter} {value};" for letter, value in limits.items() if value):
        command = ["bash", "-c", f'{limit} exec "$@"', "bash", *command]
    env = variables() | (environment or {})
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.fixture(scope="session")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> ShortRun:
    """The tiny recipe, cut short: its run folder and what it printed."""
    cwd = tmp_path_factory.mktemp("short")
    settings = (
        "sft.max_steps=40",
        "grpo.max_steps=4",
        "eval.limit=48",
        "data.train_problems=600",
        "save.every_steps=2",
    )
    done = run_train(cwd, "tiny", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    log = (cwd / "runs/tiny/loading.log").read_text(encoding="utf-8")
    assert "should be imported before" not in log  # so Unsloth says that it could not patch all
    return cwd / "runs/tiny", done.stdout + done.stderr


def no_sft(short_run: ShortRun) -> tuple[str, ...]:
    """Settings for a quick run on the model that the short run left on disk after SFT."""
    return (
        f"model.name={short_run[0] / 'base-model'}",
        "sft=null",
        "eval.limit=8",
        "eval.benchmarks=[tiny]",
        "pilot=0",
    )


def run_eval(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m eval` in a process of its own, offline."""
    command = [sys.executable, "-m", "eval", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=variables(), capture_output=True, text=True, timeout=600, check=False
    )


@contextmanager
def cpu_seconds_below(limit: float, text: str) -> Iterator[None]:
    """The work inside takes less time of the processor than that, whatever else is running."""
    started = time.process_time()
    yield
    seconds = time.process_time() - started
    assert seconds < limit, f"{seconds:.1f} s for {text[:40]!r}"


@contextmanager
def another_process(begin: Call, *arguments: Any) -> Iterator[Call]:
    """Calls functions of test files in one process, `begin` first; what they raise is raised here.

    It is started once for many tests: to import torch takes 6 s, Unsloth 10.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:

        def call(function: Call, *arguments: Any) -> Any:
            return pool.apply_async(function, arguments).get(timeout=600)

        call(begin, *arguments)
        yield call


def begin_offline() -> None:
    os.environ |= OFFLINE


def evaluate_here(cwd: Path, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    os.chdir(cwd)
    identity.cache_clear()  # of weights by their path, which may be relative
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = eval_main(list(arguments))
    assert "unsloth" not in sys.modules
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def eval_again() -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """As run_eval(), but all in one process, which has transformers and no Unsloth."""
    with another_process(begin_offline) as call:
        yield lambda cwd, *arguments: call(evaluate_here, cwd, arguments)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[type[Hub], dict[str, str]]]:
    """The hub and the environment in which it is found, with a token that it knows."""

    class Fresh(Hub):
        known = {}  # noqa: RUF012
        seen = []  # noqa: RUF012

    server = ThreadingHTTPServer(("127.0.0.1", 0), Fresh)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    environment = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_TOKEN": "hf_secret",
        "HF_HUB_OFFLINE": "0",
    }
    yield Fresh, environment | {"HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "hf-home")}
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


stock: dict[str, Any] = {}  # TRL's own classes, where make_unsloths_cuda_trainer() was called


def make_unsloths_cuda_trainer(cache: Path) -> None:
    """Have Unsloth make its own GRPOConfig and GRPOTrainer, as for CUDA; no card is needed.

    `cache` gets the code that it writes.
    """
    os.environ |= {"UNSLOTH_ALLOW_CPU": "1", "UNSLOTH_COMPILE_LOCATION": str(cache)}
    import unsloth  # noqa: F401  isort: skip  (it must be imported before trl)
    import trl
    from unsloth.models import rl

    stock.update(GRPOConfig=trl.GRPOConfig, GRPOTrainer=trl.GRPOTrainer)
    rl._patch_trl_rl_trainers("grpo_trainer")
    assert trl.GRPOTrainer.__name__.startswith("Unsloth"), trl.GRPOTrainer


@pytest.fixture(scope="session")
def with_unsloths_cuda_trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """Calls functions of test files in the one process in which Unsloth has made its trainer."""
    with another_process(make_unsloths_cuda_trainer, tmp_path_factory.mktemp("unsloth")) as call:
        yield call


def completions(folder: Path) -> list[str]:
    """What was written, of an evaluation's folder."""
    return [line["completion"] for line in read_jsonl(folder / "items.jsonl")]


def agreement(one: list[str], other: list[str]) -> float:
    """The share of texts that are alike."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


def item(
    number: int, right: bool, completion: str = "<answer>1</answer>", **changes: Any
) -> EvalItem:
    """An item of an evaluation made by hand."""
    fields: dict[str, Any] = {
        "id": str(number),
        "sample": 0,
        "question": f"question {number}",
        "prompt": f"user: question {number}",
        "gold": "1",
        "completion": completion,
        "tokens": 10,
        "truncated": False,
        "extracted": "1" if right else "2",
        "verdict": Verdict.CORRECT if right else Verdict.WRONG,
        "strict": False,
        "flexible": right,
        "equations": 2 if right else 1,
    }
    return EvalItem(**fields | changes)


def write_evaluation(folder: Path, items: list[EvalItem], **changes: Any) -> None:
    """A finished evaluation made by hand; `changes` are to its settings."""
    samples = 1 + max(item.sample for item in items)
    settings: dict[str, Any] = {
        "benchmark": {
            "name": "tiny",
            "version": 1,
            "count": len(items) // samples,
            "sha256": "0" * 64,
        },
        "prompt": {"system_prompt": None, "exemplars": {"count": 0, "sha256": "1" * 64}},
        "answer_format": "auto",
        "sampling": {
            "max_completion_length": 48,
            "batch_size": 8,
            "temperature": 0.0,
            "samples": samples,
            "seed": 0,
            "stop": [],
        },
        "first_prompt": items[0].prompt,
        "model": {"engine": "made by hand"},
    }
    record = open_record(folder, settings | changes)
    record.add(dict(enumerate(items)))
    record.finish(
        {
            "scores": scores(record.result),
            "speed": {"seconds": 1.0, "tokens": 10, "completions_kept": 0},
        }
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--gpu-set",
        action="append",
        default=[],
        help="change one value of the recipe that tests/gpu runs, as train.py's --set",
    )
    parser.addoption(
        "--reliability",
        type=Path,
        help="write what came of the faults that are tested into the table of this file",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that is marked as a fault tells it in its report: also from a worker's process."""
    for item in items:
        if mark := item.get_closest_marker("fault"):
            item.user_properties.append(("fault", list(mark.args)))


Fault = tuple[str, str]  # what is brought about, and what must hold


def known_faults() -> set[Fault]:
    """What is marked as a fault in the tests, as their sources have it."""
    found = set()
    for file in Path(__file__).parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                what, holds = map(ast.literal_eval, node.args)
                found.add((what, holds))
    return found


def read_reliability(file: Path) -> dict[Fault, list[int]]:
    """Of each fault of a table its cases, and those that held."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return {(row[0], row[1]): [int(row[2]), int(row[3])] for row in rows[1:] if len(row) == 4}


class Reliability:
    """Counts the outcomes of the tests that are marked as a fault, and writes them as a table.

    What the table says of faults that are not tried this time stays, as long as there are tests of
    them.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        known = known_faults()
        before = read_reliability(file)
        self.before = {fault: counts for fault, counts in before.items() if fault in known}
        self.counts: dict[Fault, list[int]] = {}  # cases, and those that held

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told: dict[str, Any] = dict(report.user_properties)
        if "fault" not in told or report.skipped:
            return
        if report.when != "call" and not report.failed:
            return
        what, holds = told["fault"]
        count = self.counts.setdefault((what, holds), [0, 0])
        cases = int(told.get("cases", 1))
        count[0] += cases
        count[1] += cases if report.passed else 0

    def pytest_sessionfinish(self) -> None:
        lines = [
            "# What was done to a run, and what came of it",
            "",
            "Made by `make faults` from the outcomes of the tests themselves; each case is a fault"
            " that was brought about. How many programs and requests a second are borne:"
            " [sandbox.md](sandbox.md), [services.md](services.md).",
            "",
            "| fault | what must hold | cases | held |",
            "|---|---|---|---|",
        ]
        counts = self.before | self.counts
        for (what, holds), (cases, held) in sorted(counts.items()):
            lines.append(f"| {what} | {holds} | {cases} | {held} |")
        cases, held = (sum(count[place] for count in counts.values()) for place in (0, 1))
        lines += [f"| all | | {cases} | {held} |", ""]
        self.file.write_text("\n".join(lines), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    worker = hasattr(config, "workerinput")  # of pytest-xdist: the first process writes
    if (file := config.getoption("--reliability")) and not worker:
        config.pluginmanager.register(Reliability(file))
