"""The reward functions of ten public GRPO notebooks, written anew: the same names, signatures,
markers and payments, as docs/notebooks.md lists them. The code is ours.

They keep what is odd in the originals: counters at module level, printing, one random instance a
call, time limits by SIGALRM, numpy arrays as values, columns that are read from **kwargs.
"""

import ast
import json
import random
import re
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np

calls = 0


def texts_of(completions: Any) -> list[str]:
    return [one if isinstance(one, str) else one[0]["content"] for one in completions]


# Llama3.1_(8B)-GRPO, Mistral_v0.3_(7B)-GRPO, Qwen2.5_(3B)-GRPO, Phi_4_(14B)-GRPO


def between(text: str, start: str, end: str) -> str:
    return text.split(start)[-1].split(end)[0].strip()


def correctness_reward_func(prompts, completions, answer, **kwargs) -> list[float]:  # type: ignore
    said = [between(text, "<answer>", "</answer>") for text in texts_of(completions)]
    print("-" * 20, prompts[0][-1]["content"], answer[0], said[0])
    return [2.0 if one == gold else 0.0 for one, gold in zip(said, answer, strict=True)]


def int_reward_func(completions, **kwargs) -> list[float]:  # type: ignore
    said = [between(text, "<answer>", "</answer>") for text in texts_of(completions)]
    return [0.5 if one.isdigit() else 0.0 for one in said]


def soft_format_reward_func(completions, **kwargs) -> list[float]:  # type: ignore
    pattern = r"<reasoning>.*?</reasoning>\s*<answer>.*?</answer>"
    return [0.5 if re.match(pattern, text) else 0.0 for text in texts_of(completions)]


def xmlcount_reward_func(completions, **kwargs) -> list[float]:  # type: ignore
    paid = []
    for text in texts_of(completions):
        marks = ("<reasoning>\n", "\n</reasoning>\n", "\n<answer>\n", "\n</answer>")
        score = sum(0.125 for mark in marks if text.count(mark) == 1)
        after = text.split("\n</answer>")[-1] if "\n</answer>" in text else ""
        paid.append(score - 0.001 * len(after))
    return paid


# Gemma3_(1B)-GRPO, Advanced_Llama3_2_(3B)_GRPO_LoRA

MARKS = ("<start_working_out>", "<end_working_out>", "<SOLUTION>", "</SOLUTION>")
WHOLE = re.compile(rf"^\s*{MARKS[0]}.+?{MARKS[1]}.*?{MARKS[2]}(.+?){MARKS[3]}\s*$", re.DOTALL)
NUMBER = re.compile(rf"{MARKS[2]}.*?([\d.]+)", re.DOTALL)


def match_format_exactly(completions, **kwargs):  # type: ignore
    return [3.0 if WHOLE.search(text) else 0 for text in texts_of(completions)]


def match_format_approximately(completions, **kwargs):  # type: ignore
    return [
        sum(0.5 if text.count(mark) == 1 else -0.5 for mark in MARKS)
        for text in texts_of(completions)
    ]


def check_answer(prompts, completions, answer, **kwargs):  # type: ignore
    paid = []
    for text, gold in zip(texts_of(completions), answer, strict=True):
        found = WHOLE.search(text)
        if found is None:
            paid.append(0.0)
        elif found[1] == gold:
            paid.append(3.0)
        elif found[1].strip() == gold.strip():
            paid.append(1.5)
        else:
            try:
                ratio = float(found[1]) / float(gold)
                paid.append(0.5 if 0.9 <= ratio <= 1.1 else 0.25 if 0.8 <= ratio <= 1.2 else -1.0)
            except ValueError:
                paid.append(-0.5)
    return paid


def check_numbers(prompts, completions, answer, **kwargs):  # type: ignore
    global calls
    calls += 1
    if calls % 5 == 0:
        print("*" * 20, prompts[0][-1]["content"])
    paid = []
    for text, gold in zip(texts_of(completions), answer, strict=True):
        found = NUMBER.search(text)
        paid.append(0 if found is None else 1.5 if float(found[1]) == float(gold) else 0.0)
    return paid


# DeepSeek_R1_0528_Qwen3_(8B)_GRPO: its language is told by a package; here by the script


def format_and_language_reward_func(completions, **kwargs):  # type: ignore
    paid = []
    for text in texts_of(completions):
        if text.count("<think>") != 1 or text.count("</think>") != 1:
            paid.append(-5.0)
        else:
            paid.append(5.0 if re.search("[\u0400-\u04ff]", text) else -3.0)
    return paid


# gpt-oss-(20B)-GRPO: the model writes a function, which is run in this process


def code_of(text: str, start: str) -> str | None:
    found = re.search(r"```(?:python)?\n(.*?)```", text, re.DOTALL)
    return found[1] if found and found[1].startswith(start) else None


def function_of(code: str, name: str) -> Callable[..., Any]:
    made: dict[str, Any] = {}
    exec(code, made)
    function: Callable[..., Any] = made[name]
    return function


def function_works(completions, **kwargs):  # type: ignore
    paid = []
    for text in texts_of(completions):
        code = code_of(text, "def matmul(A, B):")
        if code is None:
            paid.append(-2.0)
            continue
        try:
            function_of(code, "matmul")
            paid.append(1.0)
        except Exception:
            paid.append(-0.5)
    return paid


def no_cheating(completions, **kwargs):  # type: ignore
    paid = []
    for text in texts_of(completions):
        code = code_of(text, "def matmul(A, B):") or "import numpy"
        names = {
            alias.name
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        paid.append(1.0 if names <= set(sys.stdlib_module_names) else -20.0)
    return paid


def correctness_check(completions, **kwargs):  # type: ignore
    one, other = np.random.rand(3, 4), np.random.rand(4, 2)  # one instance for the whole batch
    paid = []
    for text in texts_of(completions):
        code = code_of(text, "def matmul(A, B):")
        if code is None:
            paid.append(0.0)
            continue
        try:
            found = np.array(function_of(code, "matmul")(one.tolist(), other.tolist()))
            paid.append(6.0 if np.allclose(found, one @ other) else -6.0)
        except Exception:
            paid.append(-2.0)
    return paid


# gpt_oss_(20B)_Reinforcement_Learning_2048_Game: a strategy plays, under a time limit


@contextmanager
def at_most(seconds: float):  # type: ignore
    """As Unsloth's helper limits it: by the alarm signal, on the main thread alone."""

    def late(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def strategy_succeeds(completions, **kwargs):  # type: ignore
    seed = random.randrange(10**6)  # the same game for all
    paid = []
    for text in texts_of(completions):
        code = code_of(text, "def strategy(board):")
        if code is None:
            paid.append(0.0)
            continue
        board = [[(seed >> place) & 1 for place in range(4)]]
        try:
            with at_most(0.3):
                moved = function_of(code, "strategy")(board)
            paid.append(20.0 if moved in ("W", "A", "S", "D") else 2.0)
        except TimeoutError:
            paid.append(-1.0)
        except Exception:
            paid.append(-3.0)
    return paid


# gpt_oss_(20B)_Reinforcement_Learning_GRPO_Minesweeper_Game_BF16: columns out of **kwargs


def gameplay_reward(completions, **kwargs):  # type: ignore
    seeds, histories = kwargs.get("seed", []), kwargs.get("move_history", [])
    paid = []
    for text, seed, history in zip(texts_of(completions), seeds, histories, strict=True):
        try:
            move = json.loads(text[text.rindex("{") : text.rindex("}") + 1])
            mines = set(random.Random(seed).sample(range(16), 3))
            seen = {tuple(place) for place in json.loads(history)}
            place = (move["row"], move["col"])
            wrong = place in seen or move["row"] * 4 + move["col"] in mines
            paid.append(-10.0 if wrong else 15.0)
        except (ValueError, KeyError):
            paid.append(-25.0)
    return paid


# NeMo-Gym-Multi-Environment: nested columns, a verifier for each row, a numpy array


def reward_fn(completions, prompts=None, **kwargs):  # type: ignore
    paid = []
    rows = zip(
        texts_of(completions),
        kwargs["resources_server_ref"],
        kwargs["verify_extra"],
        strict=True,
    )
    for text, server, extra in rows:
        wanted = {key: value for key, value in extra.items() if value is not None}
        paid.append(float(wanted["word"] in text) if server["name"] == "words" else 0.0)
    return np.array(paid)


# Muse_Glimmer_(30B)-GRPO: text or messages


def answer_is_correct(prompts, completions, answer, **kwargs):  # type: ignore
    paid = []
    for text, gold in zip(texts_of(completions), answer, strict=True):
        said = re.findall(r"-?\d+(?:\.\d+)?", text.rpartition("to=user")[2])
        right = bool(said) and abs(float(said[-1]) - float(gold)) < 1e-6
        paid.append(4.0 if right else -0.5)
    return paid
