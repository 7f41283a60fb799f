"""Which problems a step asks. Pure; all that it remembers is in a checkpoint."""

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[tuple[int], np.dtype[np.float64]]

# How much what was seen counts a step later: the policy has changed. Half of it is forgotten after
# 34 steps; assumed.
KEPT_EACH_STEP = 0.98
# How many completions' worth of belief a problem has in its level, and a level in all problems
# together, before they were asked themselves; assumed.
BELIEF, BELIEF_OF_LEVEL = 2.0, 4.0
FIRST_GUESS = 0.5  # of a pass rate, before anything was asked


class Choice(Protocol):
    """A way to choose problems."""

    def draw(self, count: int, asked: Collection[str] = ()) -> list[str]:
        """The ids of `count` different problems, none of which this step has `asked` already."""

    def tell(self, problem: str, right: int, completions: int) -> None:
        """How many of a group's completions were right."""

    def step(self) -> None:
        """A step is over: the policy changes."""

    def state(self) -> dict[str, Any]:
        """For a checkpoint: plain values."""

    def load_state(self, state: dict[str, Any]) -> None: ...


class InTurn:
    """Every problem once before any is asked again, in an order that is shuffled each time."""

    def __init__(self, problems: Sequence[str], seed: int) -> None:
        self.problems, self.seed = list(problems), seed
        self.epoch, self.place = 0, 0
        self.waiting: list[str] = []  # whose turn came in a step that had asked them already

    def draw(self, count: int, asked: Collection[str] = ()) -> list[str]:
        found = [problem for problem in self.waiting if problem not in asked][:count]
        self.waiting = [problem for problem in self.waiting if problem not in found]
        order = self.order()
        while len(found) < count:
            if self.place == len(order):
                self.epoch, self.place = self.epoch + 1, 0
                order = self.order()
            problem = order[self.place]
            self.place += 1
            late = problem in asked or problem in found
            (self.waiting if late else found).append(problem)
        return found

    def order(self) -> list[str]:
        """The order of this epoch, by seed and epoch alone."""
        shuffled = list(self.problems)
        random.Random(f"{self.seed} {self.epoch}").shuffle(shuffled)
        return shuffled

    def tell(self, problem: str, right: int, completions: int) -> None:
        """It does not matter here."""

    def step(self) -> None:
        """Nothing is forgotten."""

    def state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "place": self.place, "waiting": self.waiting}

    def load_state(self, state: dict[str, Any]) -> None:
        self.epoch, self.place = state["epoch"], state["place"]
        self.waiting = list(state.get("waiting", ()))


class ByPassRate:
    """Problems of which a group probably has right and wrong completions, rather than others.

    A problem's pass rate has a beta distribution: what was seen of it, lately, added to what its
    level makes one expect; and a level's expectation is that of all problems, added to what was
    seen of it. A problem that was not asked yet is as its level. `levels`: the difficulty of each
    problem, all of one level where nobody says.
    """

    def __init__(
        self, levels: Mapping[str, str], num_generations: int, seed: int, floor: float
    ) -> None:
        self.problems = list(levels)
        self.places = {problem: place for place, problem in enumerate(self.problems)}
        self.names = sorted(set(levels.values()))
        number = {name: place for place, name in enumerate(self.names)}
        self.levels = np.array([number[levels[problem]] for problem in self.problems])
        self.num_generations, self.floor = num_generations, floor
        self.right = np.zeros(len(self.problems))  # (problems,) completions, as far as remembered
        self.seen = np.zeros(len(self.problems))
        self.random = random.Random(seed)

    def draw(self, count: int, asked: Collection[str] = ()) -> list[str]:
        weights = self.weights()
        for problem in asked:
            weights[self.places[problem]] = 0
        # Without replacement (Efraimidis and Spirakis 2006): the largest of log(random) / weight.
        drawn = np.array([self.random.random() for _ in self.problems])
        with np.errstate(divide="ignore"):
            keys = np.log(drawn) / weights
        order = np.argsort(-keys, kind="stable")[:count]
        return [self.problems[place] for place in order]

    def weights(self) -> Array:
        """(problems,) how likely each is to be drawn, beside the others."""
        promise = self.chance_of_signal()
        return self.floor * promise.max() + (1 - self.floor) * promise

    def chance_of_signal(self) -> Array:
        """(problems,) the chance that a group has both right and wrong completions."""
        right = BELIEF * self.expected() + self.right
        wrong = BELIEF * (1 - self.expected()) + self.seen - self.right
        all_right, all_wrong = np.ones(len(right)), np.ones(len(right))
        for k in range(self.num_generations):
            all_right *= (right + k) / (right + wrong + k)
            all_wrong *= (wrong + k) / (right + wrong + k)
        return 1 - all_right - all_wrong

    def expected(self) -> Array:
        """(problems,) the pass rate that a problem's level makes one expect."""
        of_all = (FIRST_GUESS + self.right.sum()) / (1 + self.seen.sum())
        right = np.bincount(self.levels, self.right, len(self.names))
        seen = np.bincount(self.levels, self.seen, len(self.names))
        of_level = (BELIEF_OF_LEVEL * of_all + right) / (BELIEF_OF_LEVEL + seen)
        found: Array = of_level[self.levels]
        return found

    def pass_rates(self) -> Array:
        """(problems,) what is believed of each."""
        return (BELIEF * self.expected() + self.right) / (BELIEF + self.seen)

    def by_level(self) -> dict[str, float]:
        """The pass rate that each level makes one expect."""
        expected = self.expected()
        firsts = [int(np.argmax(self.levels == place)) for place in range(len(self.names))]
        pairs = zip(self.names, firsts, strict=True)
        return {name: float(expected[first]) for name, first in pairs}

    def tell(self, problem: str, right: int, completions: int) -> None:
        place = self.places[problem]
        self.right[place] += right
        self.seen[place] += completions

    def begin_with(self, pilot: Iterable[tuple[str, int, int]]) -> None:
        """What the pilot has seen: of a problem how many completions were right, of how many."""
        for problem, right, completions in pilot:
            if problem in self.places:
                self.tell(problem, right, completions)

    def go_on_from(self, state: dict[str, Any]) -> None:
        """What an earlier round has seen, whose state that is."""
        self.right, self.seen = np.array(state["right"]), np.array(state["seen"])

    def step(self) -> None:
        self.right *= KEPT_EACH_STEP
        self.seen *= KEPT_EACH_STEP

    def state(self) -> dict[str, Any]:
        version, keys, gauss = self.random.getstate()
        return {
            "right": self.right.tolist(),
            "seen": self.seen.tolist(),
            "random": [version, list(keys), gauss],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.go_on_from(state)
        version, keys, gauss = state["random"]
        self.random.setstate((version, tuple(keys), gauss))
