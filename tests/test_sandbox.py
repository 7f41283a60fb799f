"""Programs that nobody trusts: what they may do, what they are paid, and what they cannot reach."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import ROOT
from walls import needs_walls, why_not

from onecard.types import Problem, Rollout, UserError, Verdict
from rewards.answer import grade
from rewards.answer.kinds.code import AT_ONCE, last_block
from rewards.answer.kinds.table import KINDS
from rewards.answer.row_tests import names_of, read_tests
from rewards.answer.section import Answer
from rewards.judges.code_tests import CodeTests
from rewards.rules.correct import CorrectAnswer
from rewards.sandbox.attacks.escapes import BEGIN, ESCAPES, Escape
from rewards.sandbox.attacks.every import check_sandbox
from rewards.sandbox.attacks.forgeries import FORGERIES, Forgery
from rewards.sandbox.client import ForkServer, ForkServerError, check_kernel
from rewards.sandbox.trial import Trial, try_functions, try_program
from rewards.sandbox.walls import kernel
from rewards.sandbox.walls.confine import Limits
from rewards.scoring import BatchScorer
from rewards.section import Scoring

pytestmark = pytest.mark.unit
QUICK = Limits(seconds=1.0)
OF_ALL = Path("/usr/bin/python3")  # an interpreter that every user of the machine may run


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ForkServer]:
    if why := why_not():
        pytest.skip(why)
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
    try:
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
    except PermissionError:  # in a folder that is root's alone
        pytest.skip(f"user 1000 may not run {OF_ALL} in {ROOT}")
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count("held\t") == len(ESCAPES) + len(FORGERIES)


# They are ended by a limit, and say nothing of a wall.
ENDED = ["endless loop", "sleep", "output flood", "deep recursion", "signal tampering"]
ENDED += ["4 GB of memory"]


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
from datetime import datetime as moment
from fractions import Fraction
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
def same(x): return x
class OwnError(ValueError): pass
def own_error(): raise OwnError("mine")
def unique(items):
    items[:] = sorted(set(items))
    return len(items)
def power(n): return 2 ** n
def forever():
    a = 0
    while True:
        yield a
        a += 1
def half(n): return Fraction(n, 2)
def queue(items): return collections.deque(items)
def span(n): return range(n)
def day(text): return moment.strptime(text, "%Y-%m-%d").date()
def sum(items): return 4
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
        ("assert add(0, LIMIT) == 7", True),
        ("s = Solution()\nassert s.double(4) == 8 and s.calls == 1", True),
        ("assert total(Node(1, Node(2))) == 3", True),
        ("n = Node(1)\nn.next = Node(2)\nassert total(n) == 3", True),
        ("assert Node(1, None) == Node(1, None) and Node(1) != Node(2)", True),
        ("n = Node(1)\nassert same(n) is n", True),
        ("n = Node(1)\nassert same(n) is not n", False),
        ("assert Node(1) == 1", False),
        ("try:\n    own_error()\nexcept ValueError as e:\n    assert str(e) == 'mine'", True),
        ("items = [1, 1, 2]\nassert unique(items) == 2 and items[:2] == [1, 2]", True),
        ("assert power(20000) == 2 ** 20000", True),
        ("assert next(forever()) == 0", True),
        ("from fractions import Fraction\nassert half(3) == Fraction(3, 2)", True),
        ("assert queue([1, 2]) == collections.deque([1, 2])", True),
        ("assert count('aab').most_common(1) == [('a', 2)]", True),
        ("assert span(3) == range(3)", True),
        ("import datetime\nassert day('2026-02-03') == datetime.date(2026, 2, 3)", True),
        ("assert sum([1, 2]) == 4", True),  # the code's own, which the row wants
        ("try:\n    fail(1)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError", True),
        ("import math\nassert math.isclose(add(0.1, 0.2), 0.3)", True),
        ("assert math.isclose(add(0.1, 0.2), 0.3)", True),
        ("assert isclose(add(0.1, 0.2), 0.3)", True),
        ("assert missing(1) == 1", False),
        ("assert 1 + 1 == 2", False),  # it asks nothing of the code
        ("assert add(1)", False),
        ("def check(candidate):\n    assert candidate(1, 2) == 3\ncheck(add)", True),
        ("assert add(object(), 1)", False),
    ],
)
def test_a_test_is_put_to_the_code_as_if_it_stood_beside_it(
    test: str, passes: bool, sandbox: ForkServer
) -> None:
    trial = try_functions(sandbox, CODE, "", [test], sorted(names_of(test, None, CODE)), QUICK)
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
        trial = try_functions(sandbox, code, "", test, ["add"], limits)
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
    trial = try_functions(sandbox, code, "", tests, ["add"], QUICK)
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
@pytest.mark.fault("the fork server is killed while code runs", "a fault, and never a zero")
@pytest.mark.parametrize("whole", [True, False], ids=["a program", "functions"])
def test_what_ran_when_the_server_died_is_not_judged(whole: bool) -> None:
    sandbox = ForkServer()
    slow, limits = "import time\ntime.sleep(5)\ndef add(a, b): return a + b", Limits(8.0)

    def run() -> None:
        if whole:
            try_program(sandbox, slow, [("", "x")], limits)
        else:
            try_functions(sandbox, slow, "", ["assert add(1, 2) == 3"], ["add"], limits)

    try:
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(run)
            deadline = time.monotonic() + 10
            while not sandbox.server and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(1.5)
            assert sandbox.server is not None
            sandbox.server.kill()
            with pytest.raises(ForkServerError):
                running.result()
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


def test_solutions_that_cannot_be_tried_are_told_in_one_sentence(monkeypatch: Any) -> None:
    def broken(*_: Any) -> None:
        raise ForkServerError("the fork server has ended")

    monkeypatch.setattr("rewards.judges.code_tests.trial_of", broken)
    (scorer,) = BatchScorer([CodeTests(name="code_tests")], Answer(), Scoring()).scorers
    with pytest.raises(UserError, match="code_tests: the fork server has ended"):
        scorer.look_at([Problem("1", "?", "{}", "def f(): pass", "code")])


def test_another_system_is_told(monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match="needs Linux, and this is darwin"):
        check_kernel()


@pytest.mark.parametrize(
    ("value", "columns", "read"),
    [
        (["assert f(1) == 2"], {}, {"setup": "", "tests": ["assert f(1) == 2"], "names": ["f"]}),
        (
            ["assert f(1) == 2"],
            {"test_setup_code": "import math"},
            {"setup": "import math", "tests": ["assert f(1) == 2"], "names": ["f"]},
        ),
        (
            ["assert f(1) == 2"],
            {"test_imports": ["import math", "import re"]},
            {"setup": "import math\nimport re", "tests": ["assert f(1) == 2"], "names": ["f"]},
        ),
        (
            "assert f(1) == 2\nassert f(2) == 3",
            {},
            {"setup": "", "tests": ["assert f(1) == 2", "assert f(2) == 3"], "names": ["f"]},
        ),
        (
            "def check(candidate):\n    assert candidate(1) == 2",
            {"entry_point": "f"},
            {
                "setup": "",
                "tests": ["def check(candidate):\n    assert candidate(1) == 2\ncheck(f)"],
                "names": ["f"],
            },
        ),
        (
            "def check(candidate):\n    assert half(candidate(1)) == 2",
            {
                "entry_point": "f",
                "prompt": "import re\n\ndef half(x):\n    return x / 2\n\ndef f(x):\n    'Doc.'\n",
            },
            {
                "setup": "import re\ndef half(x):\n    return x / 2\n",
                "tests": ["def check(candidate):\n    assert half(candidate(1)) == 2\ncheck(f)"],
                "names": ["f"],
            },
        ),
        ({"inputs": ["1"], "outputs": [["2", "3"]]}, {}, {"pairs": [["1", "2\n3"]]}),
        ('{"inputs": ["1"], "outputs": ["2"]}', {}, {"pairs": [["1", "2"]]}),
        ([{"input": 1, "output": 2}], {}, {"pairs": [["1", "2"]]}),
        (
            {"tests": ["assert f()"], "setup": "import re", "limits": {"seconds": 9}},
            {},
            {
                "setup": "import re",
                "tests": ["assert f()"],
                "names": ["f"],
                "limits": {"seconds": 9},
            },
        ),
        (
            "def test_f():\n    assert f(1) == 2",
            {},
            {
                "setup": "",
                "tests": ["def test_f():\n    assert f(1) == 2\ntest_f()"],
                "names": ["f"],
            },
        ),
        (
            "def check(candidate):\n    assert candidate([1]) == 2",
            {"entry_point": "Solution().f"},
            {
                "setup": "",
                "tests": [
                    "def check(candidate):\n    assert candidate([1]) == 2\ncheck(Solution().f)"
                ],
                "names": ["Solution"],
            },
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
        {"tests": ["assert f()"], "limits": {"seconds": "4"}},
        {"tests": ["assert f()"], "limits": {"seconds": float("nan")}},
        {"tests": ["assert f()"], "limits": {"memory_mib": 0.5}},
        {"inputs": ["1"], "outputs": [""]},
        {"fn_name": "f", "inputs": [[1]], "outputs": [2]},
        ["add(1, 2) == 3"],
        ["assert (add(1, 2) == 3, 'message')"],
        ["assert True"],
        "print(add(1, 2) == 3)",
        '"""A docstring."""\ndef check(candidate):\n    assert candidate(1) == 2',
        "import numpy\nassert numpy.allclose(f(1), 2)",
        "import pytest\ndef test_f():\n    assert f(1) == 2",
        7,
        None,
        ["assert f(1) == 2", 3],
    ],
)
def test_what_tests_nothing_is_refused(value: Any) -> None:
    """Everything would pass it."""
    assert KINDS["code"].read_gold(value) is None


@pytest.mark.parametrize(
    ("tests", "entry_point", "solution", "names"),
    [
        ("assert np.allclose(add(1, 2), 3)", None, "def add(a, b): return a + b", {"add"}),
        ("assert Counter(add(1, 2)) == Counter([1])", None, "", {"add"}),
        ("assert gcd(4, 6) == 2", None, "", {"gcd"}),  # else nothing would be asked
        ("assert sum([1, 2]) == 3", None, "def sum(x): return 3", {"sum"}),
        ("assert len(add(1, 2)) == 3", None, "def add(a, b): pass\ndef other(): pass", {"add"}),
        ("assert helper(add(1, 2))", "add", "", {"add"}),
        ("from solution import add\nassert add(1, 2) == 3", None, "", {"add"}),
        ("def check(c):\n    assert c(1) == 2\ncheck(f)", "f", "broken code (", {"f"}),
    ],
)
def test_code_defines_what_the_row_wants_and_nothing_else(
    tests: str, entry_point: str | None, solution: str, names: set[str]
) -> None:
    """Else it would put a comparison of its own under its tests."""
    assert names_of(tests, entry_point, solution) == names


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
def test_a_solution_that_goes_on_where_its_prompt_ends_is_right() -> None:
    """As HumanEval has them, with a helper in the prompt that its tests use."""
    prompt = "def half(x):\n    return x / 2\n\n\ndef four(x):\n    'Four times x.'\n"
    check = "def check(candidate):\n    assert half(candidate(1)) == 2"
    columns = {"prompt": prompt, "entry_point": "four"}
    problem = Problem("1", prompt, "", solution="    return 4 * x\n", kind="code", columns=columns)
    code = KINDS["code"]
    gold, solution = code.read_row(check, problem), code.answer_of(problem)
    assert gold is not None and solution is not None
    code.ready()
    assert code.equal(solution, gold)
    assert not code.equal(f"{prompt}    return 5 * x", gold)


def test_no_more_programs_are_tried_at_once_than_there_are_processors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their time limit is on the clock: nobody is to lose it to others."""
    lock, under_way, most = threading.Lock(), 0, 0

    def tried(*_: Any) -> Trial:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.05)
        with lock:
            under_way -= 1
        return Trial(1, [True])

    code = KINDS["code"]
    code.ready()
    gold = code.read_gold({"tests": ["assert f() == 1"]})
    assert gold is not None
    monkeypatch.setattr("rewards.answer.kinds.code.try_functions", tried)
    answers = [f"def f(): return 1  # number {number}" for number in range(4 * AT_ONCE)]
    with ThreadPoolExecutor(len(answers)) as pool:
        assert all(pool.map(lambda answer: code.equal(answer, gold), answers))
    assert most == AT_ONCE


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


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\nx = 1\n```\nOutput:\n```\n1\n```", "x = 1"),
        ("```\nx = 1\n```", "x = 1"),
        ("```python title='a.py'\nx = 1\n```", "x = 1"),
        (
            "1. So:\n   ```python\n   x = 1\n   if x:\n       y = 2\n   ```",
            "x = 1\nif x:\n    y = 2",
        ),
        ("```python\nx = 1\n```\nand\n```python\nx = 2\n```", "x = 2"),
        ("```python\nx = 1\n```\nand\n```python\nx = 2", "x = 1"),
        ("```c++\nint x;\n```", None),
        ("```python\nx = 1", None),
        ("x = 1", None),
    ],
)
def test_which_block_is_the_code(text: str, code: str | None) -> None:
    assert last_block(text) == code


@needs_walls
@pytest.mark.parametrize(
    "program",
    [
        "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer)\nprint(7)",
        "import threading\nthreading.Thread(target=lambda: print(7)).start()",
        "import atexit\natexit.register(print, 7)",
        "import sys\nprint(7) if len(sys.argv) == 1 else open(sys.argv[1])",
        "print(7)\nexit()",
        "import sys\nfor line in sys.stdin: pass\nsys.stdout.write('7')\nsys.stdout.flush()",
        "import sys\nsys.setrecursionlimit(10**6)\nf = lambda n: n and f(n-1)\nprint(7 + f(9999))",
        "if __name__ == '__main__':\n    print(7)",
        "import fileinput\nlines = list(fileinput.input())\nprint(7)",
        "import sys\nprint(7, file=sys.__stdout__)",
        "print(7)\nraise SystemExit(1)",
    ],
)
def test_ways_to_write_a_program(program: str, sandbox: ForkServer) -> None:
    trial = try_program(sandbox, program, [("1\n2\n", "7")], QUICK)
    assert trial.passed == [True], trial.why


@needs_walls
def test_a_bomb_of_threads_hurts_nobody_else(sandbox: ForkServer) -> None:
    (bomb,) = [one for one in ESCAPES if one.name == "a bomb of threads"]
    right, tests = "def add(a, b): return a + b", ["assert add(1, 2) == 3"]
    with ThreadPoolExecutor(4) as threads:
        bombs = [threads.submit(bomb.run, sandbox) for _ in range(3)]
        found = [try_functions(sandbox, right, "", tests, ["add"], QUICK) for _ in range(10)]
    assert all(one.result()[0] for one in bombs)
    assert all(trial.passed == [True] for trial in found)


def test_the_page_has_every_attack_and_each_was_held() -> None:
    page = (ROOT / "docs/sandbox.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if "held |" in line]
    assert [row[0] for row in rows] == [one.name for one in (*ESCAPES, *FORGERIES)]
    assert all(set(row[1:-1]) == {"held"} for row in rows)
