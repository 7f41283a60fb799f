"""Programs that nobody trusts: what they may do, what they are paid, and what they cannot reach."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import ROOT

from onecard.types import Problem, Rollout, UserError, Verdict
from rewards.answer import grade
from rewards.answer.kinds.code import read_tests
from rewards.answer.kinds.table import KINDS
from rewards.answer.section import Answer
from rewards.judges.code_tests import CodeTests
from rewards.rules.correct import CorrectAnswer
from rewards.sandbox.attacks.escapes import BEGIN, ESCAPES, Escape
from rewards.sandbox.attacks.every import check_sandbox
from rewards.sandbox.attacks.forgeries import FORGERIES, Forgery
from rewards.sandbox.client import ForkServer, ForkServerError, check_kernel
from rewards.sandbox.trial import try_functions, try_program
from rewards.sandbox.walls import kernel
from rewards.sandbox.walls.confine import Limits
from rewards.scoring import BatchScorer
from rewards.section import Scoring

pytestmark = pytest.mark.unit
QUICK = Limits(seconds=1.0)
OF_ALL = Path("/usr/bin/python3")  # an interpreter that every user of the machine may run


def why_not() -> str:
    """Why there can be no sandbox on this machine; nothing where there can."""
    try:
        check_kernel()
    except UserError as error:
        return str(error)
    return ""


needs_walls = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can be built")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ForkServer]:
    sandbox = ForkServer()
    yield sandbox
    sandbox.close()


@needs_walls
@pytest.mark.fault("a program tries to get out of the sandbox", "it is held")
@pytest.mark.parametrize("attack", [*ESCAPES, *FORGERIES], ids=lambda attack: attack.name)
def test_an_attack_is_held(attack: Escape | Forgery, sandbox: ForkServer) -> None:
    held, what = attack.run(sandbox)
    assert held, what


@needs_walls
@pytest.mark.fault("all attacks on the sandbox, by an ordinary user", "they are held")
def test_attacks_are_held_for_another_user_too() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    if not OF_ALL.exists():
        pytest.skip(f"there is no {OF_ALL}")
    told = subprocess.run(
        [OF_ALL, "-B", "-m", "rewards.sandbox.attacks"],
        cwd=ROOT,
        user=1000,
        group=1000,
        extra_groups=[],
        env={},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count("held\t") == len(ESCAPES) + len(FORGERIES)


# They are ended by a limit, and say nothing of a wall.
ENDED = ["endless loop", "sleep", "output flood", "deep recursion", "signal tampering"]
ENDED += ["a bomb of threads", "4 GB of memory"]


@pytest.mark.parametrize(
    "attack", [one for one in ESCAPES if one.name not in ENDED], ids=lambda attack: attack.name
)
def test_without_walls_the_attack_gets_through(attack: Escape) -> None:
    """Else its being held would show nothing."""
    code = BEGIN.format(trainer=os.getpid()) + attack.code
    process = subprocess.Popen(
        [sys.executable, "-c", code + "\nsys.stdout.flush()\nos._exit(0)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"A_TOKEN": "secret"},
        start_new_session=True,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert any("LEAK" in line for line in process.stdout)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_training_is_refused_where_an_attack_gets_through(
    sandbox: ForkServer, monkeypatch: Any
) -> None:
    leak = Escape("a hole", "print('LEAK')")
    monkeypatch.setattr("rewards.sandbox.attacks.every.ESCAPES", (leak,))
    with pytest.raises(UserError, match=r"does not hold on this machine: a hole"):
        check_sandbox(sandbox)


CODE = """
import collections, itertools
from dataclasses import dataclass
LIMIT = 7
def add(a, b): return a + b
def swap(pair): return pair[1], pair[0]
def sort_in_place(items): items.sort()
def count(text): return collections.Counter(text)
def squares(n): return (i * i for i in range(n))
def fail(x): raise ValueError("no")
def nothing(items): return None
def letters(text): return {letter for letter in text}
class Solution:
    calls = 0
    def double(self, number):
        self.calls += 1
        return 2 * number
@dataclass
class Node:
    value: int
    next: object = None
def total(node):
    return node.value + (total(node.next) if node.next else 0)
"""


@needs_walls
@pytest.mark.parametrize(
    ("test", "passes"),
    [
        ("assert add(1, 2) == 3", True),
        ("assert add(1, 2) == 4", False),
        ("assert add((1,), (2,)) == (1, 2)", True),
        ("assert add([1], [2]) == (1, 2)", False),
        ("assert swap((1, 'a')) == ('a', 1)", True),
        ("assert add(0.1, 0.2) == 0.1 + 0.2", True),
        ("items = [3, 1]\nsort_in_place(items)\nassert items == [1, 3]", True),
        ("items = [3, 1]\nnothing(items)\nassert items == [1, 3]", False),
        ("assert count('aab') == {'a': 2, 'b': 1}", True),
        ("assert letters('aab') == {'a', 'b'}", True),
        ("assert list(squares(4)) == [0, 1, 4, 9]", True),
        ("assert LIMIT == 7", True),
        ("s = Solution()\nassert s.double(4) == 8 and s.calls == 1", True),
        ("assert total(Node(1, Node(2))) == 3", True),
        ("try:\n    fail(1)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError", True),
        ("import math\nassert math.isclose(add(0.1, 0.2), 0.3)", True),
        ("assert math.isclose(add(0.1, 0.2), 0.3)", True),
        ("assert missing(1) == 1", False),
        ("assert add(1)", False),
        ("def check(candidate):\n    assert candidate(1, 2) == 3\ncheck(add)", True),
        ("assert add(object(), 1)", False),
    ],
)
def test_a_test_is_put_to_the_code_as_if_it_stood_beside_it(
    test: str, passes: bool, sandbox: ForkServer
) -> None:
    trial = try_functions(sandbox, CODE, "", [test], QUICK)
    assert trial.passed == [passes], trial.why


@needs_walls
def test_a_program_is_judged_by_what_it_prints(sandbox: ForkServer) -> None:
    code = "n = int(input())\nprint(n)\nprint(n + int(input()))"
    pairs = [("1\n2\n", "1\n3"), ("1\n2", "1  \n3\n\n"), ("1\n2\n", "1\n4"), ("x\n", "")]
    trial = try_program(sandbox, code, pairs, QUICK)
    assert trial.passed == [True, True, False, True]
    assert trial.why == "printed '1\\n3\\n', wanted '1\\n4'"
    whole = "print(sum(map(int, open(0).read().split())))"
    assert try_program(sandbox, whole, [("1\n2 3", "6")], QUICK).passed == [True]


@needs_walls
def test_code_that_hangs_costs_its_own_time_alone(sandbox: ForkServer) -> None:
    hanging = "def add(a, b):\n    while True: pass"
    right = "def add(a, b): return a + b"
    test, limits = ["assert add(1, 2) == 3"], Limits(seconds=2.0)

    def one(code: str) -> tuple[list[bool], float]:
        trial = try_functions(sandbox, code, "", test, limits)
        return trial.passed, time.monotonic()

    begun = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        (hung, hung_at), *others = threads.map(one, [hanging, *[right] * 6])
    assert hung == [False]
    assert all(passed == [True] for passed, _ in others)
    assert max(at for _, at in others) < hung_at
    assert hung_at - begun < 4


@needs_walls
def test_what_passed_before_it_hung_still_counts(sandbox: ForkServer) -> None:
    code = "def add(a, b):\n    while a > 5: pass\n    return a + b"
    tests = ["assert add(1, 2) == 3", "assert add(6, 1) == 7", "assert add(2, 2) == 4"]
    trial = try_functions(sandbox, code, "", tests, QUICK)
    assert trial.passed == [True, False, False]
    assert trial.why == "not finished in 1 s"


@needs_walls
@pytest.mark.fault("the fork server of the sandbox is killed", "another is started")
def test_a_killed_server_is_started_again() -> None:
    sandbox = ForkServer()
    try:
        assert try_program(sandbox, "print(1)", [("", "1")], QUICK).passed == [True]
        assert sandbox.server is not None
        sandbox.server.kill()
        sandbox.server.wait()
        assert try_program(sandbox, "print(1)", [("", "1")], QUICK).passed == [True]
    finally:
        sandbox.close()


@needs_walls
@pytest.mark.fault("the sandbox is gone in the middle of a batch", "a fault, and never a zero")
def test_a_sandbox_that_cannot_run_code_is_no_zero(monkeypatch: Any) -> None:
    def broken(*_: Any) -> None:
        raise ForkServerError("the fork server cannot be asked")

    monkeypatch.setattr("rewards.answer.kinds.code.trial_of", broken)
    gold = json.dumps(read_tests(["assert add(1, 2) == 3"], {}))
    score = grade("```\ndef add(a, b): return 3\n```", gold, kind="code")
    assert score.verdict == Verdict.GRADER_ERROR


@needs_walls
@pytest.mark.fault("the trainer is killed while a program runs", "no process stays behind")
def test_nothing_outlives_the_trainer() -> None:
    trainer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from rewards.sandbox.client import ForkServer\n"
            "from rewards.sandbox.walls.confine import Limits\n"
            "from rewards.sandbox.trial import try_program\n"
            "try_program(ForkServer(), 'import time; time.sleep(60)', [('', '')], Limits(60.0))\n",
        ],
        cwd=ROOT,
    )
    deadline = time.monotonic() + 20
    family: list[psutil.Process] = []
    while len(family) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
        family = psutil.Process(trainer.pid).children(recursive=True)
    trainer.kill()
    trainer.wait()
    assert len(family) == 2
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive


def test_the_server_sees_no_secret_and_no_package(sandbox: ForkServer) -> None:
    code = "import sys\nprint([name for name in ('torch', 'numpy') if name in sys.modules])"
    trial = try_program(sandbox, code, [("", "[]")], QUICK)
    assert trial.passed == [True], trial.printed


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSYS, "it came with Linux 5.13"),
        (errno.EOPNOTSUPP, "started without it: add `landlock`"),
        (errno.EPERM, "in Docker, use version 23"),
    ],
)
def test_a_kernel_without_landlock_is_told_with_what_to_do(
    number: int, told: str, monkeypatch: Any
) -> None:
    def refused() -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(kernel, "landlock_version", refused)
    with pytest.raises(UserError, match=told) as error:
        ForkServer()
    assert "the reward `http`" in str(error.value)


def test_another_system_is_told(monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match="needs Linux, and this is darwin"):
        check_kernel()


@pytest.mark.parametrize(
    ("value", "columns", "read"),
    [
        (["assert f(1) == 2"], {}, {"setup": "", "tests": ["assert f(1) == 2"]}),
        (
            ["assert f(1) == 2"],
            {"test_setup_code": "import math"},
            {"setup": "import math", "tests": ["assert f(1) == 2"]},
        ),
        (
            ["assert f(1) == 2"],
            {"test_imports": ["import math", "import re"]},
            {"setup": "import math\nimport re", "tests": ["assert f(1) == 2"]},
        ),
        (
            "assert f(1) == 2\nassert f(2) == 3",
            {},
            {"setup": "", "tests": ["assert f(1) == 2", "assert f(2) == 3"]},
        ),
        (
            "def check(candidate):\n    assert candidate(1) == 2",
            {"entry_point": "f"},
            {
                "setup": "",
                "tests": ["def check(candidate):\n    assert candidate(1) == 2\ncheck(f)"],
            },
        ),
        ({"inputs": ["1"], "outputs": [["2", "3"]]}, {}, {"pairs": [["1", "2\n3"]]}),
        ('{"inputs": ["1"], "outputs": ["2"]}', {}, {"pairs": [["1", "2"]]}),
        ([{"input": 1, "output": 2}], {}, {"pairs": [["1", "2"]]}),
        (
            {"tests": ["assert f()"], "setup": "import re", "limits": {"seconds": 9}},
            {},
            {"setup": "import re", "tests": ["assert f()"], "limits": {"seconds": 9}},
        ),
    ],
)
def test_how_rows_write_their_tests(value: Any, columns: Any, read: Any) -> None:
    assert read_tests(value, columns) == read


@pytest.mark.parametrize(
    "value",
    [
        [],
        "",
        "def check(candidate):\n    assert candidate(1) == 2",  # nobody calls it
        "import math",
        ["assert f(1) =="],
        {"inputs": [], "outputs": []},
        {"inputs": ["1"], "outputs": []},
        {"tests": ["assert f()"], "limits": {"hours": 9}},
        7,
        None,
        ["assert f(1) == 2", 3],
    ],
)
def test_what_tests_nothing_is_refused(value: Any) -> None:
    """Everything would pass it."""
    assert KINDS["code"].read_row(value, {}) is None


def rollout(code: str, group: int = 0) -> Rollout:
    gold = KINDS["code"].read_gold(["assert add(1, 2) == 3", "assert add(2, 2) == 4"])
    assert gold is not None
    problem = Problem("1", "add", gold, kind="code")
    return Rollout(problem, f"```python\n{code}\n```", 10, group=group)


@needs_walls
def test_code_is_paid_for_all_tests_or_for_its_share() -> None:
    rewards = [
        CorrectAnswer(name="correct_answer"),
        CodeTests(name="code_tests"),
        CodeTests(name="code_tests", pays="share"),
    ]
    scorer = BatchScorer(rewards, Answer(), Scoring())
    codes = ["def add(a, b): return a + b", "def add(a, b): return 3", "def add(a, b): return 0"]
    scored = scorer.score([rollout(code) for code in codes])
    assert [one.values() for one in scored] == [[1, 1, 1], [0, 0, 0.5], [0, 0, 0]]
    assert [one.rollout.verdict for one in scored] == ["correct", "wrong", "wrong"]


@needs_walls
def test_more_code_hangs_than_the_deadline_of_a_batch_allows() -> None:
    """Each costs its own time; nothing becomes a fault, and what is right is paid."""
    KINDS["code"].ready()
    gold = KINDS["code"].read_gold({"tests": ["assert f(1) == 1"], "limits": {"seconds": 1.0}})
    assert gold is not None
    problem = Problem("1", "one", gold, kind="code")
    hung = [f"```\ndef f(x):\n    while True: {number}\n```" for number in range(6)]
    texts = [*hung, "```\ndef f(x): return 1\n```"]
    scorer = BatchScorer([CodeTests(name="code_tests")], Answer(), Scoring(deadline_seconds=0.5))
    scored = scorer.score([Rollout(problem, text, 10) for text in texts])
    assert [one.total for one in scored] == [0] * 6 + [1]
    assert scorer.faults == 0
