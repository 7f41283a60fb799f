"""Problems that reasoning-gym makes, judged by the task that made them.

A task's own `score_answer` says what is right, because many tasks have several right answers. It
was written for answers of good will. An answer here comes from a model that is paid for whatever
passes, so only tasks are taken whose verifier was read and is tested: it runs no part of the answer
as a program, ends in time whatever the answer is, and gives 1.0 to right answers alone.
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from typing import Any

from onecard.section import did_you_mean
from onecard.types import UserError
from rewards.answer.kinds.base import Kind, as_text

PACKAGE = "reasoning-gym"
SAFE_TASKS = frozenset(
    """
    ab advanced_geometry aiw arc_1d arc_agi base_conversion basic_arithmetic bf binary_alternation
    caesar_cipher calendar_arithmetic chain_sum circuit_logic color_cube_rotation count_bits
    count_primes course_schedule cryptarithm decimal_arithmetic decimal_chain_sum dice emoji_mystery
    family_relationships fraction_simplification futoshiki game_of_life gcd group_anagrams
    gsm_symbolic isomorphic_strings jugs kakurasu knights_knaves largest_island lcm leg_counting
    letter_counting list_functions mahjong_puzzle manipulate_matrix maze mini_sudoku modulo_grid
    needle_haystack number_filtering number_format number_sequence palindrome_generation
    palindrome_partitioning path_star pool_matrix power_function prime_factorization products
    quantum_lock ransom_note rearc rectangle_count rotate_matrix rotten_oranges self_reference
    sentence_reordering shortest_path simple_equations simple_geometry sokoban spell_backward
    string_manipulation string_splitting string_synthesis sudoku survo syllogism time_intervals
    tower_of_hanoi tsumego word_sequence_reversal word_sorting zebra_puzzles
    """.split()
)
RUNS_IT = "its verifier runs the answer as a program"
HANGS = "a short answer can keep its verifier busy for hours"
PAYS_NOISE = "its verifier gives full marks to answers that are not right"
SLOW = "it makes a row in about a second, and a run wants thousands"
NO_GOLD = "its rows have no right answer to show"
FEW_ROWS = "it refuses to make as many rows as a run may want"
NOT_READ = "its verifier has not been checked"
REFUSED_TASKS = {
    "binary_matrix": RUNS_IT,
    "countdown": RUNS_IT,
    "intermediate_integration": RUNS_IT,
    "n_queens": RUNS_IT,
    "polynomial_multiplication": RUNS_IT,
    "puzzle24": RUNS_IT,
    "simple_integration": RUNS_IT,
    "spiral_matrix": RUNS_IT,
    "string_insertion": RUNS_IT,
    "coin_flip": HANGS,  # Fraction("1e999999999")
    "propositional_logic": HANGS,  # a table of truth with every lower-case letter as a variable
    "rubiks_cube": HANGS,  # R999999999
    "rush_hour": HANGS,  # A+999999999
    "complex_arithmetic": PAYS_NOISE,  # nan
    "figlet_font": PAYS_NOISE,  # ten letters in place, whatever follows
    "game_of_life_halting": PAYS_NOISE,  # "False" is not empty, so it counts as True
    "letter_jumble": PAYS_NOISE,  # the right words, whatever follows
    "number_sorting": PAYS_NOISE,  # [NaN, NaN, NaN]
    "polynomial_equations": PAYS_NOISE,  # no number at all, where there is no real root
    "acre": SLOW,
    "knight_swap": SLOW,
    "graph_color": NO_GOLD,
    "word_ladder": FEW_ROWS,
    "bitwise_arithmetic": NOT_READ,
    "boxnet": NOT_READ,
    "codeio": NOT_READ,
}


class Gym(Kind):
    """What the task's own verifier gives 1.0. Any part of that is wrong."""

    wanted = f"one that {PACKAGE} made; `data.gym` names its task"
    longest = 4_000

    def read_gold(self, value: Any) -> str | None:
        return as_text(value)

    def equal(self, answer: str, gold: str) -> bool | None:
        return answer == gold

    def judge(self, answer: str, gold: str, columns: Mapping[str, Any]) -> bool | None:
        """`columns` are those of a row as data.gym makes it; without them the gold alone counts.

        What its verifier fails on is wrong: it could not read the answer.
        """
        if "task" not in columns:
            return self.equal(answer, gold)
        task = open_task(columns["task"], json.dumps(columns["params"]))
        row = {name: columns[name] for name in ("question", "answer", "metadata")}
        try:
            # Some verifiers write into the row.
            return bool(task.score_answer(answer, deepcopy(row)) == 1.0)
        except Exception:
            return False


def check_task(name: str) -> str:
    """The name as it is. Raises ValueError unless it is a task that is safe to pay for."""
    if name in REFUSED_TASKS:
        raise ValueError(f"{PACKAGE}'s {name} is not taken: {REFUSED_TASKS[name]}")
    if name not in SAFE_TASKS:
        raise ValueError(
            f"no such task {name!r}{did_you_mean(name, SAFE_TASKS)}; there are:"
            f" {', '.join(sorted(SAFE_TASKS))}"
        )
    return name


@lru_cache(maxsize=64)
def open_task(name: str, params: str, seed: int = 0, size: int = 500) -> Any:
    """A task of reasoning-gym with its parameters, as JSON text.

    Row i of it is made with the random seed `seed` + i. Raises UserError where the package is not
    there, or where the task does not take a parameter.
    """
    try:
        from reasoning_gym.factory import DATASETS, create_dataset
    except ImportError:
        raise UserError(
            f"data.gym: the package {PACKAGE} is not installed; `pip install {PACKAGE}` fetches it"
        ) from None
    try:
        return create_dataset(name, **json.loads(params), seed=seed, size=size)
    except (AssertionError, TypeError, ValueError, KeyError, AttributeError) as error:
        settings = DATASETS[name][1].__dataclass_fields__
        taken = ", ".join(known for known in settings if known not in ("seed", "size"))
        raise UserError(f"data.gym: {name}: {error}; its params are: {taken}") from None
