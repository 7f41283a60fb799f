"""Each reward: what it pays for, what it does not, and others' published values for the same
idea.
"""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from conftest import cpu_seconds_below
from hypothesis import given
from hypothesis import strategies as st
from walls import marked_where

from bench.hostile import HOSTILE
from onecard.recipe.file import load_recipe
from onecard.recipe.rewards import open_rewards
from onecard.types import Problem, Rollout, UserError
from rewards.answer import graded
from rewards.answer.section import Answer
from rewards.base import Context, Fault, Reward, Rule, Scorer
from rewards.custom import Custom, check_functions
from rewards.custom.functions import load_function
from rewards.selftest import Asked, Case, check_cases, made_up, run_cases
from rewards.table import REWARDS

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent
TINY = ROOT / "recipes/tiny.yaml"
KNOBS: dict[str, dict[str, Any]] = {
    "overlong": {"max_tokens": 100, "buffer_tokens": 20},
    "cosine_length": {"max_tokens": 100},
}

# Presets, and what asks a function, a process or a service.
NOT_PURE = {"custom", "deepseek_r1", "robust", "code_tests", "http", "judge", "reward_model"}


def build(name: str, **knobs: Any) -> Rule:
    reward = REWARDS[name].model_validate({"name": name} | knobs)
    assert isinstance(reward, Rule)
    return reward


def custom(function: str, **knobs: Any) -> Custom:
    return Custom(name="custom", function=function, **knobs)


def opened(reward: Reward, **context: Any) -> Scorer:
    return reward.open(Context(Answer(), 5.0, **context))


def pays(function: str, text: str = "18", **knobs: Any) -> float | None:
    """What a function pays for one completion. Raises what it failed with."""
    (outcome,) = opened(custom(function, **knobs)).score([rollout(text)])
    if isinstance(outcome, Fault):
        raise outcome.error
    return None if outcome is None else outcome.value


def rollout(
    text: str, gold: str = "18", tokens: int = 1, think_opened: bool = False, place: int = 0
) -> Rollout:
    """A completion as rewards see it: graded."""
    problem = Problem("1", "q", gold)
    return graded(Rollout(problem, text, tokens, False, think_opened, place), "auto")


def cases_of(*settings: str, file: Path = TINY, think_opened: bool = False) -> list[Case]:
    """The self-test of a recipe's rewards."""
    recipe = load_recipe(file, list(settings))
    scorer = open_rewards(recipe)
    problem = made_up(recipe.answer.kind or recipe.source.kind)
    (cases,) = run_cases(scorer, [Asked(problem, think_opened=think_opened)])
    return cases


def paid(
    name: str,
    text: str,
    gold: str = "18",
    tokens: int = 10,
    think_opened: bool = False,
    **knobs: Any,
) -> float:
    score = build(name, **knobs).score(rollout(text, gold, tokens, think_opened))
    assert score is not None
    return score.value


def right(working: str) -> str:
    return f"<think>{working}</think><answer>18</answer>"


@pytest.mark.parametrize(
    ("text", "exact", "soft", "tags"),
    [
        ("<think>a</think><answer>1</answer>", 1, 1, 1),
        (" <think>a\nb</think>\n\n<answer>1</answer>\n", 1, 1, 1),
        ("<think>a</think>", 0, 0, 0.5),
        ("<answer>1</answer><think>a</think>", 0, 0, 1),
        ("<think>a</think>so<answer>1</answer>", 0, 1, 1),
        ("<think>a</think><answer>1</answer><|im_end|>\n", 1, 1, 1),
        ("hm <think>a</think><answer>1</answer>", 0, 1, 1),
        ("<think>a</think><answer>1</answer><answer>1</answer>", 0, 1, 0.5),
        ("<think><think>a</think><answer>1</answer>", 0, 1, 0.75),
        ("<think>a</think><answer>1</answer>!", 0, 1, 1),
        ("<think>" * 50, 0, 0, 0),
        ("", 0, 0, 0),
        # open-r1's and TRL's format tests
        ("<answer>Only answer</answer>", 0, 0, 0.5),
        ("No tags at all", 0, 0, 0),
        ("<think>Missing closing</think><answer>Missing closing", 0, 0, 0.75),
        ("<think>Wrong order</answer><answer>Wrong order</think>", 0, 0, 1),
    ],
)
def test_formats(text: str, exact: float, soft: float, tags: float) -> None:
    assert (
        paid("think_format", text),
        paid("think_format_soft", text),
        paid("tag_count", text),
    ) == (exact, soft, tags)


def test_a_think_block_that_the_template_opened_counts() -> None:
    text = "a</think><answer>1</answer>"
    for name in ("think_format", "think_format_soft", "tag_count"):
        assert paid(name, text, think_opened=True) == 1.0
        assert paid(name, text) < 1.0
        assert paid(name, "<think>" + text, think_opened=True) <= 1.0
    assert paid("think_format", "<think>" + text, think_opened=True) == 0.0  # opened twice


@pytest.mark.parametrize(
    ("working", "value"),
    [
        # open-r1, tests/test_rewards.py
        ("Step 1: First step\nStep 2: Second step\nStep 3: Third step", 1.0),
        ("First, we do this.\nSecond, we do that.\nFinally, we conclude.", 1.0),
        ("Step 1: Only step", 1 / 3),
        ("First, we do this.\nFinally, we conclude.", 2 / 3),
        ("Just plain text without any clear markers", 0.0),
        ("1 + 1 = 2. 2 + 3 = 5. 5 - 1 = 4", 1.0),
        ("\n".join(f"Step {n}: x" for n in range(1, 11)), 1.0),
        ("\n".join(f"Step {n}: x" for n in range(1, 12)), 0.8),
        ("the firstborn of the nextdoor family", 0.0),
    ],
)
def test_reasoning_steps(working: str, value: float) -> None:
    assert paid("reasoning_steps", right(working)) == pytest.approx(value)


@pytest.mark.parametrize(
    ("working", "value"),
    [
        ("also soap thus", 1 / 3),
        ("so so so so", 1 / 3),
        ("So, because of this, therefore that", 1.0),
        ("also, soon, sincere, ifs", 0.0),
    ],
)
def test_logical_flow_counts_whole_different_words(working: str, value: float) -> None:
    assert paid("logical_flow", right(working)) == pytest.approx(value)


@pytest.mark.parametrize(
    ("working", "value"),
    [("Let me check.", 1.0), ("I VERIFY it", 1.0), ("checkers, awaiting", 0.0), ("", 0.0)],
)
def test_self_verification(working: str, value: float) -> None:
    assert paid("self_verification", right(working)) == value


@pytest.mark.parametrize(
    "name", ["reasoning_steps", "logical_flow", "self_verification", "language_consistency"]
)
def test_shaping_is_paid_beside_a_right_answer_only_unless_the_recipe_says_otherwise(
    name: str,
) -> None:
    working = "First, so check. Then, because. Finally, therefore."
    wrong = f"<think>{working}</think><answer>17</answer>"
    assert paid(name, right(working)) == 1.0
    assert paid(name, wrong) == 0.0
    assert paid(name, wrong, only_if_correct=False) == 1.0


def test_shaping_reads_the_working_and_not_the_answer() -> None:
    assert paid("self_verification", "<think>a</think>check<answer>18</answer>") == 0.0


def test_language_consistency_is_a_share_of_letters() -> None:
    assert paid("language_consistency", right("ab \u0431\u0433 12")) == 0.5
    assert paid("language_consistency", right("ab \u0431\u0433 12"), script="cyrillic") == 0.5
    assert paid("language_consistency", right("12")) == 0.0


@pytest.mark.parametrize(
    ("tokens", "value"), [(0, 0.0), (80, 0.0), (90, -0.5), (95, -0.75), (100, -1.0), (500, -1.0)]
)
def test_overlong_is_dapo_equation_13(tokens: int, value: float) -> None:
    assert paid("overlong", "x", tokens=tokens, max_tokens=100, buffer_tokens=20) == value


@pytest.mark.parametrize(
    ("answer", "tokens", "value"),
    [(18, 0, 1.0), (18, 50, 0.75), (18, 100, 0.5), (17, 0, -1.0), (17, 50, -0.75), (17, 900, -0.5)],
)
def test_cosine_length(answer: int, tokens: int, value: float) -> None:
    assert paid(
        "cosine_length", f"<answer>{answer}</answer>", tokens=tokens, max_tokens=100
    ) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "ngram", "value"),
    [  # open-r1, tests/test_rewards.py
        ("this is a test sentence", 2, 0.0),
        ("this this this this this", 2, -0.75),
        ("this is a this is a test", 2, -1 / 3),
        ("test test test test", 3, -0.5),
        ("", 2, 0.0),
        ("word", 3, 0.0),
        ("two words", 3, 0.0),
        ("one two one two", 3, 0.0),
        ("A B C A B C", 3, -0.25),
        ("A B C A B C E F G A B C A B C", 3, -0.3846),
        ("THIS is A this IS a test", 2, -1 / 3),
    ],
)
def test_repetition(text: str, ngram: int, value: float) -> None:
    assert paid("repetition", text, ngram=ngram) == pytest.approx(value, abs=1e-4)


def test_too_short() -> None:
    assert paid("too_short", right("one two three"), min_words=3) == 0.0
    assert paid("too_short", right("one two"), min_words=3) == -1.0
    assert paid("too_short", "", min_words=1) == -1.0


def test_answer_is_number() -> None:
    assert paid("answer_is_number", "<answer>$7</answer>") == 1.0
    assert paid("answer_is_number", "<answer>seven</answer>") == 0.0
    assert paid("answer_is_number", "7") == 0.0


def test_the_random_control_pays_about_half_whatever_is_written() -> None:
    coin = build("random")
    rollouts = [rollout(right("x"), place=place) for place in range(1000)]
    values = [coin.score(one) for one in rollouts]
    assert 400 < sum(score.value for score in values if score) < 600
    # A resumed run is paid as it would have been.
    assert values == [coin.score(one) for one in rollouts]


def test_presets_expand_into_weighted_parts() -> None:
    recipe = load_recipe(TINY, ["rewards=[{name: deepseek_r1, weight: 2.0}, {name: think_format}]"])
    parts = [(part.label, part.weight) for part in recipe.rewards]
    assert parts == [
        ("correct_answer", 1.2),
        ("reasoning_steps", 0.3),
        ("logical_flow", 0.3),
        ("self_verification", 0.2),
        ("think_format", 1.0),
    ]
    robust = {
        part.label: part.weight for part in load_recipe(TINY, ["rewards=[{name: robust}]"]).rewards
    }
    assert robust == {
        "correct_answer": 0.7,
        "think_format": 0.2,
        "repetition": 0.5,
        "too_short": 0.3,
    }


@pytest.mark.parametrize("name", sorted(set(REWARDS) - NOT_PURE))
@given(text=st.text(max_size=300))
def test_no_text_breaks_a_reward_and_noise_earns_nothing(name: str, text: str) -> None:
    reward = build(name, **KNOBS.get(name, {}))
    score = reward.score(rollout(text, tokens=len(text)))
    assert score is not None
    assert -1.0 <= score.value <= 1.0
    if not any(marker in text for marker in ("<", "#", "boxed")) and name != "random":
        assert score.value <= 0.0


@pytest.mark.parametrize("name", sorted(set(REWARDS) - NOT_PURE - {"random"}))
def test_no_long_text_makes_a_reward_slow(name: str) -> None:
    """100,000 characters each; a quadratic pattern would need many seconds for one of them."""
    knobs = KNOBS.get(name, {}) | (
        {"only_if_correct": False} if "only_if_correct" in REWARDS[name].model_fields else {}
    )
    reward = build(name, **knobs)
    for text in (*HOSTILE, *(f"<think>{text}</think><answer>18</answer>" for text in HOSTILE)):
        with cpu_seconds_below(5, text):
            reward.score(rollout(text, tokens=len(text)))


CUSTOM = """
def ours(rollout):
    return 1.0 if rollout.problem.gold in rollout.text else None

def theirs(prompts, completions, gold, **others):
    return [2.0 if g in c[-1]["content"] else 0.0 for c, g in zip(completions, gold)]

def uneven(prompts, completions, **others):
    return [1.0, 2.0]
"""


def test_the_custom_functions_of_rewards_readme_pay_as_they_stand_there(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "rewards/README.md").read_text()
    blocks = re.findall(r"(?:^    .*\n|^\n)+", text[text.index("    def short(") :], re.M)
    (tmp_path / "my_rewards.py").write_text(textwrap.dedent(blocks[0]).split("rewards:")[0])
    assert pays(f"{tmp_path}/my_rewards.py:short", "x") == -1 / 512
    correctness = f"{tmp_path}/my_rewards.py:correctness_reward_func"
    assert pays(correctness, "<answer>18</answer>") == 2.0
    assert pays(correctness, "<answer>17</answer>") == 0.0


def test_custom_functions_of_both_signatures(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(CUSTOM)
    assert pays(f"{file}:ours") == 1.0
    assert pays(f"{file}:ours", "no") is None
    assert pays(f"{file}:theirs") == 2.0
    assert pays("operator.truth") == 1.0
    with pytest.raises(ValueError, match="returned 2 values; wanted a list of 1 numbers"):
        pays(f"{file}:uneven")
    for wrong in (f"{tmp_path}/none.py:f", f"{file}:none", "no.such.module.f", "plain"):
        with pytest.raises(UserError, match="custom function"):
            check_functions([custom(wrong)])
        with pytest.raises(UserError, match="custom function"):
            pays(wrong)


def test_custom_functions_are_found_before_their_file_is_run(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("raise SystemError('this file was run')\n\ndef pay(rollout):\n    return 1.0\n")
    check_functions([custom(f"{file}:pay")])
    with pytest.raises(UserError, match="this file was run"):
        pays(f"{file}:pay")
    file.write_text("from os.path import *\n")
    check_functions([custom(f"{file}:basename")])
    with pytest.raises(UserError, match=r"it names no function; wanted path/to/file.py:function"):
        check_functions([custom(str(file))])
    file.write_text("raise SystemExit('enough')\n\ndef pay(rollout):\n    return 1.0\n")
    load_function.cache_clear()
    with pytest.raises(UserError, match="enough"):
        pays(f"{file}:pay")
    file.write_text("def pay(rollout:\n")
    with pytest.raises(UserError, match=r"custom function .*: '\(' was never closed .*line 1"):
        check_functions([custom(f"{file}:pay")])


def test_a_users_file_is_run_once_and_first_called_by_one_thread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reward may load a model as its file is run, or at its first call: not four times."""
    file = tmp_path / "mine.py"
    file.write_text(
        "import threading, time\n"
        "print('file is run')\n"
        "time.sleep(0.05)\n"
        "busy, ready = threading.Lock(), []\n"
        "def pay(rollout):\n"
        "    if not ready:\n"
        "        assert busy.acquire(blocking=False), 'two threads at once'\n"
        "        time.sleep(0.05)\n"
        "        ready.append(True)\n"
        "    return rollout.verdict == 'correct'\n"
    )
    reward = f"rewards=[{{name: custom, function: '{file}:pay'}}]"
    recipe = load_recipe("recipes/tiny.yaml", [reward])
    scorer = open_rewards(recipe)
    assert len(run_cases(scorer)[0]) == 6
    assert capsys.readouterr().out == "file is run\n"


@pytest.mark.parametrize(
    ("rewards", "told"),
    [
        ("[{name: corect_answer}]", "no reward 'corect_answer' (did you mean 'correct_answer'?)"),
        ("[{weight: 1.0}]", "rewards.0.name is missing; there are: correct_answer"),
        (
            "[{name: overlong, max_tokens: 10, buffer: 5}]",
            "unknown key rewards.0.buffer (did you mean 'buffer_tokens'?)",
        ),
        (
            "[{name: overlong, max_tokens: 10, buffer_tokens: 10}]",
            "buffer_tokens 10 must be smaller than max_tokens 10",
        ),
        (
            "[{name: correct_answer, answer_format: box}]",
            "answer.format: Input should be 'auto', 'answer', 'hash' or 'boxed'",
        ),
        (
            "[{name: correct_answer, weight: .inf}]",
            "rewards.0.weight: Input should be a finite number",
        ),
        ("[{name: correct_answer, weight: 0}]", "every weight is 0"),
        ("[{name: correct_answer}, {name: deepseek_r1}]", "correct_answer is listed twice"),
        ("[]", "rewards: completions are sampled in training"),
    ],
)
def test_wrong_reward_entries_are_told(rewards: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(TINY, [f"rewards={rewards}"])
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "file",
    marked_where(
        lambda file: file.stem.startswith("code-"), sorted((ROOT / "recipes").glob("*.yaml"))
    ),
    ids=lambda file: file.stem,
)
@pytest.mark.parametrize("think_opened", [False, True])
def test_every_shipped_recipe_passes_its_self_test(file: Path, think_opened: bool) -> None:
    cases = cases_of(file=file, think_opened=think_opened)
    assert check_cases(cases).refused == []
    totals = {case.name: case.total for case in cases}
    assert totals["perfect"] > max(total for name, total in totals.items() if name != "perfect")


@pytest.mark.parametrize(
    "rewards",
    [
        "[{name: deepseek_r1}]",
        "[{name: robust}]",
        "[{name: correct_answer, answer_format: hash}]",
        "[{name: correct_answer, answer_format: boxed}, {name: repetition}]",
        (
            "[{name: correct_answer}, {name: overlong, max_tokens: 48, buffer_tokens: 8}, {name:"
            " tag_count, weight: 0.5}]"
        ),
    ],
)
def test_sensible_mixtures_pass_the_self_test(rewards: str) -> None:
    assert check_cases(cases_of(f"rewards={rewards}")).refused == []


def test_a_mixture_that_pays_noise_as_much_as_a_right_answer_fails_the_self_test() -> None:
    negative = cases_of("rewards=[{name: correct_answer, weight: -1.0}]")
    told = "the empty completion earns 0, and a right answer 0: noise must earn less"
    assert told in check_cases(negative).refused
    as_much = cases_of("rewards=[{name: correct_answer}, {name: too_short, weight: -1.0}]")
    assert "the empty completion earns 1, and a right answer 1" in check_cases(as_much).refused[0]


def test_a_mixture_that_pays_noise_less_than_a_right_answer_is_told_and_taken() -> None:
    """GRPO compares the completions of a problem: where the zero is, does not matter to it."""
    noise = check_cases(
        cases_of("rewards=[{name: correct_answer}, {name: too_short, weight: -0.5}]")
    )
    assert noise.refused == []
    assert "the empty completion earns 0.5, a right answer 1" in noise.told


def rewards_command(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rewards", *arguments]
    return subprocess.run(
        command, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_line_scores_what_is_pasted(tmp_path: Path) -> None:
    shown = rewards_command(
        "recipes/tiny.yaml", "--gold", "18", "--completion-file", "-", stdin=right("9*2 = 18")
    )
    assert shown.returncode == 0, shown.stderr
    row = next(line for line in shown.stdout.splitlines() if "correct" in line and "18" in line)
    assert [cell.strip() for cell in row.split("\u2502")][1:-1] == [
        "1",
        "1",
        "1",
        "1.25",
        "correct",
        "18",
    ]
    file = tmp_path / "many.jsonl"
    file.write_text(
        "\n".join(
            json.dumps({"completion": text, "gold": 18}) for text in (right("x"), "", "#### 17")
        )
    )
    many = rewards_command("recipes/tiny.yaml", "--completion-file", str(file))
    assert [word for word in ("correct", "no_answer", "wrong") if word in many.stdout] == [
        "correct",
        "no_answer",
        "wrong",
    ]
    assert rewards_command("recipes/tiny.yaml").returncode == 2
    assert (
        "no file nowhere"
        in rewards_command("recipes/tiny.yaml", "--completion-file", "nowhere").stderr
    )


def test_the_self_test_command_fails_on_a_bad_mixture() -> None:
    assert rewards_command("recipes/tiny.yaml", "--self-test").returncode == 0
    bad = rewards_command(
        "recipes/tiny.yaml", "--self-test", "--set", "rewards=[{name: too_short, weight: -1.0}]"
    )
    assert bad.returncode == 1
    assert "noise must earn less" in bad.stderr
