"""The batch adapter: TRL's calls in, columns out, and faults that are never zeros."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onecard.grading import BatchScorer
from onecard.recipe_file import load_recipe
from onecard.types import Sample

pytestmark = pytest.mark.unit
TINY = Path(__file__).parent.parent / "recipes/tiny.yaml"
END = 9
SAMPLES = [Sample(str(number), f"q{number}", "18") for number in range(4)]

FAULTY = """
import time

def pay(rollout):
    if "hang" in rollout.text:
        time.sleep(5)
    if "raise" in rollout.text:
        raise KeyError("boom")
    if "nan" in rollout.text:
        return float("nan")
    return None if "none" in rollout.text else 1.0
"""


def batch_scorer(tmp_path: Path, *settings: str) -> BatchScorer:
    (tmp_path / "faulty.py").write_text(FAULTY)
    rewards = (
        "rewards=[{name: correct_answer}, {name: custom, function:"
        f" '{tmp_path}/faulty.py:pay'}}]"
    )
    return BatchScorer(
        load_recipe(TINY, [rewards, "grpo.num_generations=2", *settings]),
        SAMPLES,
        {END},
        think_opened=False,
    )


def call(
    scorer: BatchScorer, texts: list[str], ids: list[list[int]] | None = None
) -> tuple[list[list[Any]], list[float]]:
    """The columns, as TRL asks for them in turn with the same lists, and what was logged."""
    logged: list[float] = []
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    names = [str(number // 2) for number in range(len(texts))]
    columns = [
        function(
            completions=completions,
            completion_ids=ids or [[1, END]] * len(texts),
            sample_id=names,
            prompts=[],
            log_metric=lambda name, value: logged.append(value),
            trainer_state=SimpleNamespace(global_step=3),
        )
        for function in scorer.reward_functions()
    ]
    return columns, logged


RIGHT = "<answer>18</answer>"


def test_columns_carry_the_labels_and_rows_in_order(tmp_path: Path) -> None:
    scorer = batch_scorer(tmp_path)
    assert [function.__name__ for function in scorer.reward_functions()] == [
        "correct_answer",
        "pay",
    ]
    columns, logged = call(scorer, [RIGHT, "", "none", RIGHT + " none"])
    assert columns == [[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, None, None]]
    assert logged == [0.0]


def test_a_new_batch_is_graded_anew(tmp_path: Path) -> None:
    scorer = batch_scorer(tmp_path)
    assert call(scorer, [RIGHT, ""])[0][0] == [1.0, 0.0]
    assert call(scorer, ["", RIGHT])[0][0] == [0.0, 1.0]


def test_a_completion_without_an_end_token_is_truncated(tmp_path: Path) -> None:
    scorer = batch_scorer(tmp_path)
    rollouts = [scorer.rollout([{"content": "x"}], ids, "1", 0) for ids in ([1, END], [1, 2], [])]
    assert [rollout.truncated for rollout in rollouts] == [False, True, True]
    assert [rollout.tokens for rollout in rollouts] == [2, 2, 0]


@pytest.mark.fault(
    "a reward that raises, hangs, pays NaN, with on_error: stop",
    "the run stops, naming reward and sample",
)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise", "KeyError: 'boom'"),
        ("nan", "wanted a finite number"),
        ("hang", "no value within 0.3 s"),
    ],
)
def test_a_fault_stops_the_run_and_names_reward_and_sample(
    tmp_path: Path, text: str, reason: str
) -> None:
    scorer = batch_scorer(tmp_path, "grading.deadline_seconds=0.3")
    started = time.monotonic()
    with pytest.raises(RuntimeError) as caught:
        call(scorer, [RIGHT, RIGHT, RIGHT, text])
    assert "reward pay failed on sample 1, row 3 of the batch" in str(caught.value)
    assert reason in str(caught.value)
    assert time.monotonic() - started < 3


@pytest.mark.fault(
    "a reward that raises, hangs, pays NaN, with on_error: skip_group",
    "its group is left out and counted",
)
@pytest.mark.parametrize("text", ["raise", "nan", "hang"])
def test_skip_group_leaves_the_whole_group_out_and_counts(tmp_path: Path, text: str) -> None:
    scorer = batch_scorer(tmp_path, "grading.deadline_seconds=0.3", "grading.on_error=skip_group")
    columns, logged = call(scorer, [RIGHT, "", RIGHT, text])
    assert columns == [[1.0, 0.0, None, None], [1.0, 1.0, None, None]]
    assert logged == [1.0]
