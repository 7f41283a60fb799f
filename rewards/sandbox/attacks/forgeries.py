"""Code that is wrong and wants to be taken for right."""

from dataclasses import dataclass

from rewards.sandbox.client import ForkServer
from rewards.sandbox.trial import try_functions
from rewards.sandbox.walls.confine import Limits

LIMITS = Limits(seconds=1.0, memory_mib=512)


@dataclass(frozen=True)
class Forgery:
    """Code that is wrong and wants to be taken for right. Held: none of its tests passes."""

    name: str
    code: str
    test: str = "assert add(2, 3) == 5"

    def run(self, sandbox: ForkServer) -> tuple[bool, str]:
        trial = try_functions(sandbox, self.code, "", [self.test], ["add"], LIMITS)
        return not any(trial.passed), trial.why


FORGERIES = (
    Forgery("os._exit(0)", "import os\nos._exit(0)"),
    Forgery("os._exit(0) when it is called", "import os\ndef add(a, b):\n    os._exit(0)"),
    Forgery("sys.exit(0)", "import sys\ndef add(a, b):\n    sys.exit(0)"),
    Forgery(
        "an object that equals everything",
        """
class Any(int):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = int.__hash__
def add(a, b): return Any(1)
""",
    ),
    Forgery(
        "an object of its own that equals everything",
        """
class Any:
    def __eq__(self, other): return True
    def __instancecheck__(self, other): return True
def add(a, b): return Any()
""",
    ),
    Forgery('printing "passed"', 'def add(a, b):\n    print("passed", {"passed": True})'),
    Forgery(
        "writing to the checker itself",
        """
import json, os
for number in range(3, 20):
    for line in ({"passed": True}, {"value": 5}, {"value": None, "arguments": [5]}):
        try:
            os.write(number, json.dumps(line).encode() + b"\\n")
        except OSError:
            pass
def add(a, b): return 4
""",
        "assert add(2, 3) == 5 and add(2, 2) == 4 and add(5, 5) == 10",
    ),
    Forgery(
        "patching what compares",
        """
import builtins, operator, unittest
builtins.all = builtins.any = builtins.isinstance = lambda *_: True
operator.eq = lambda a, b: True
unittest.TestCase.assertEqual = lambda *_: None
def add(a, b): return None
def len(x): return 5
""",
        "assert len([add(2, 3)]) == 5 or all([add(2, 3) == 5])",
    ),
    Forgery(
        "reading frames and memory",
        """
import gc, re, sys
def add(a, b):
    seen = []
    frame = sys._getframe()
    while frame:
        seen += [repr(frame.f_locals), repr(frame.f_globals)]
        frame = frame.f_back
    for one in gc.get_objects():
        try:
            seen.append(repr(one))
        except Exception:
            pass
    found = re.findall("right-[0-9]+", " ".join(seen))
    return found[0] if found else None
""",
        "assert add(2, 3) == 'right-58213'",
    ),
    Forgery(
        "ending a loop of the tests",
        "def add(a, b):\n    raise StopIteration",
        "assert all(map(lambda pair: add(*pair) == sum(pair), [(1, 2), (3, 4)]))",
    ),
    Forgery(
        "an answer without end",
        "import itertools\ndef add(a, b):\n    return itertools.repeat([5] * 1000)",
        "assert 4 in add(2, 3)",
    ),
    Forgery(
        "an answer of too many brackets",
        "def add(a, b):\n    x = []\n    for _ in range(100000): x = [x]\n    return x",
    ),
    Forgery(
        "defining what the tests use",
        """
class math:
    @staticmethod
    def isclose(*args): return True
def isclose(*args): return True
def sorted(x): return [5]
def add(a, b): return 0
""",
        "assert math.isclose(add(2, 3), 5) or isclose(add(2, 3), 5) or sorted([add(2, 3)]) == [5]",
    ),
    Forgery("a test that asks nothing", "def add(a, b): return 0", "assert 2 + 3 == 5"),
)
