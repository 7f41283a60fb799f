"""A batch under all rewards: columns for TRL, faults that are never zeros, whole groups, states."""

import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onecard.recipe.file import load_recipe
from onecard.stages.trl.rewards import RewardColumns
from onecard.types import Problem, Rollout, RunFailed, Score, UserError, Verdict
from onecard.watch.batch import measure, signal_share
from rewards.answer.section import Answer
from rewards.base import Context, Outcome, Reward, Scorer
from rewards.custom import Custom
from rewards.rules.correct import CorrectAnswer
from rewards.rules.format import ThinkFormat
from rewards.rules.length import Overlong
from rewards.scoring import BatchScorer, Scored
from rewards.section import Scoring

pytestmark = pytest.mark.unit
END = 9
PROBLEMS = [Problem(str(number), f"q{number}", "18") for number in range(4)]
RIGHT = "<answer>18</answer>"

FAULTY = """
import time

def pay(rollout):
    if "hang" in rollout.text:
        time.sleep(60)
    if "raise" in rollout.text:
        raise KeyError("boom")
    if "nan" in rollout.text:
        return float("nan")
    return None if "none" in rollout.text else 1.0
"""


def batch_scorer(tmp_path: Path, **scoring: Any) -> BatchScorer:
    (tmp_path / "faulty.py").write_text(FAULTY)
    rewards = [
        CorrectAnswer(name="correct_answer"),
        Custom(name="custom", function=f"{tmp_path}/faulty.py:pay"),
    ]
    return BatchScorer(rewards, Answer(), Scoring(**scoring))


class Words:
    """A tokenizer whose tokens are whole texts: the number of each is its place in `texts`."""

    def __init__(self) -> None:
        self.texts: list[str] = ["x"] * (END + 1)

    def decode(self, ids: list[int], **_: bool) -> str:
        return "".join(self.texts[number] for number in ids)

    def encode(self, text: str) -> list[int]:
        self.texts.append(text)
        return [len(self.texts) - 1]


WORDS = Words()


def columns_of(scorer: BatchScorer) -> RewardColumns:
    return RewardColumns(scorer, PROBLEMS, WORDS, {END}, think_opened=False, num_generations=2)


def call(columns: RewardColumns, texts: list[str]) -> tuple[list[list[Any]], list[float]]:
    """The columns, as TRL asks for them in turn with the same lists, and what was logged."""
    logged: list[float] = []
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    names = [str(number // 2) for number in range(len(texts))]
    ids = [[*WORDS.encode(text), END] for text in texts]
    found = [
        function(
            completions=completions,
            completion_ids=ids,
            problem_id=names,
            prompts=[[{"role": "user", "content": "q"}]] * len(texts),
            log_extra=lambda name, values: None,
            log_metric=lambda name, value: logged.append(value),
            trainer_state=SimpleNamespace(global_step=3),
        )
        for function in columns.functions()
    ]
    return found, logged


def test_columns_carry_the_labels_and_rows_in_order(tmp_path: Path) -> None:
    columns = columns_of(batch_scorer(tmp_path))
    assert [function.__name__ for function in columns.functions()] == ["correct_answer", "pay"]
    found, logged = call(columns, [RIGHT, "", "none", RIGHT + " none"])
    assert found == [[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, None, None]]
    assert logged == [0.0]


def test_a_new_batch_is_graded_anew(tmp_path: Path) -> None:
    columns = columns_of(batch_scorer(tmp_path))
    assert call(columns, [RIGHT, ""])[0][0] == [1.0, 0.0]
    assert call(columns, ["", RIGHT])[0][0] == [0.0, 1.0]


def test_a_completion_without_an_end_token_is_truncated(tmp_path: Path) -> None:
    columns = columns_of(batch_scorer(tmp_path))
    ids = [[1, END], [1, 2], []]
    rollouts = columns.rollouts(["q"] * 3, ids, ["1"] * 3, first=0)
    assert [rollout.truncated for rollout in rollouts] == [False, True, True]
    assert [rollout.tokens for rollout in rollouts] == [2, 2, 0]


def test_rollouts_know_their_place_in_the_run_and_their_group(tmp_path: Path) -> None:
    columns = columns_of(batch_scorer(tmp_path))
    rollouts = columns.rollouts(["q"] * 4, [[END]] * 4, ["0", "0", "1", "1"], 12)
    assert [rollout.place for rollout in rollouts] == [12, 13, 14, 15]
    assert [rollout.group for rollout in rollouts] == [6, 6, 7, 7]


def test_the_verdict_of_the_one_grader_is_beside_every_score(tmp_path: Path) -> None:
    """Also where no reward is the grader: nothing has to read it out of a reward's name."""
    (tmp_path / "f.py").write_text("def pay(rollout): return 1")
    scorer = BatchScorer(
        [Custom(name="custom", function=f"{tmp_path}/f.py:pay")], Answer(format="hash"), Scoring()
    )
    texts = ["#### 18", "#### 17", RIGHT, ""]
    rollouts = [Rollout(PROBLEMS[0], text, 1, truncated=not text) for text in texts]
    scored = scorer.score(rollouts)
    assert [one.rollout.verdict for one in scored] == [
        Verdict.CORRECT,
        Verdict.WRONG,
        Verdict.NO_ANSWER,  # the recipe's format counts, and no other
        Verdict.TRUNCATED,
    ]
    assert [one.total for one in scored] == [1.0] * 4


def scored(texts: Sequence[str], apart: bool = False, **gate: bool) -> list[Scored]:
    """One group's completions, under a format reward, a right answer and a punishment."""
    rewards = [
        ThinkFormat(name="think_format", weight=0.5, **gate),
        CorrectAnswer(name="correct_answer", weight=1.0),
        Overlong(name="overlong", weight=1.0, max_tokens=10, buffer_tokens=5),
    ]
    scorer = BatchScorer(rewards, Answer(), Scoring(), apart=apart)
    return scorer.score([Rollout(PROBLEMS[0], text, len(text) // 10) for text in texts])


LONG = "x" * 100
WITH_FORMAT, WITHOUT = f"<think>{LONG}</think>{RIGHT}", f"{LONG}{RIGHT}"


@pytest.mark.parametrize(
    "entry",
    [
        "{name: overlong, max_tokens: 64, buffer_tokens: 8, gate: true}",
        "{name: repetition, gate: true}",
        "{name: too_short, gate: true}",
    ],
)
def test_what_never_gives_anything_is_no_gate(entry: str) -> None:
    """It would shut out everything, right answers too."""
    with pytest.raises(UserError, match="never gives anything, so nothing would ever be paid"):
        load_recipe("recipes/tiny.yaml", [f"rewards=[{{name: correct_answer}}, {entry}]"])


def test_a_gate_keeps_back_what_others_pay_and_not_what_they_take() -> None:
    (open_, shut, wrong) = scored([WITH_FORMAT, WITHOUT, "<think>a</think>"], gate=True)
    assert open_.values() == [1.0, 1.0, -1.0]
    assert shut.values() == [0.0, 0.0, -1.0]
    assert shut.rollout.verdict == Verdict.CORRECT  # what is right stays right
    assert (open_.total, shut.total) == (0.5, -1.0)
    assert wrong.total == 0.0
    assert scored([WITHOUT])[0].values() == [0.0, 1.0, -1.0]


def test_a_group_has_a_signal_where_training_sees_a_difference() -> None:
    """Two rewards that make up for each other are nothing summed, and something apart."""
    rollouts = [Rollout(PROBLEMS[0], text, 1) for text in (RIGHT, "<answer>17</answer>")]
    pays = CorrectAnswer(name="correct_answer")
    takes = CorrectAnswer(name="correct_answer", weight=-1.0)

    def share(*rewards: Reward, apart: bool = False) -> float:
        return signal_share(BatchScorer(rewards, Answer(), Scoring(), apart=apart).score(rollouts))

    assert share(pays) == 1.0
    assert share(pays, takes) == 0.0
    assert share(pays, takes, apart=True) == 1.0


@pytest.mark.fault(
    "a reward that raises, hangs, pays NaN, with on_error: stop",
    "the run stops, naming reward and problem",
)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise", "KeyError: 'boom'"),
        ("nan", "wanted a finite number"),
        ("hang", "no value within 1 s"),
    ],
)
def test_a_fault_stops_the_run_and_names_reward_and_problem(
    tmp_path: Path, text: str, reason: str
) -> None:
    columns = columns_of(batch_scorer(tmp_path, deadline_seconds=1.0))
    started = time.monotonic()
    with pytest.raises(RunFailed) as caught:
        call(columns, [RIGHT, RIGHT, RIGHT, text])
    assert "reward pay failed on problem 1, row 3 of the batch" in str(caught.value)
    assert reason in str(caught.value)
    assert time.monotonic() - started < 30  # it sleeps for 60


@pytest.mark.fault(
    "a reward that raises, hangs, pays NaN, with on_error: skip_group",
    "its group is left out and counted",
)
@pytest.mark.parametrize("text", ["raise", "nan", "hang"])
def test_skip_group_leaves_the_whole_group_out_and_counts(tmp_path: Path, text: str) -> None:
    scorer = batch_scorer(tmp_path, deadline_seconds=1.0, on_error="skip_group")
    found, logged = call(columns_of(scorer), [RIGHT, "", RIGHT, text])
    assert found == [[1.0, 0.0, None, None], [1.0, 1.0, None, None]]
    assert logged == [1.0]


class Ranked(Scorer):
    """Pays the longest completion of each group, and a bonus that grows with every batch."""

    def __init__(self) -> None:
        self.batches = 0
        self.closed = False

    def score(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        self.batches += 1
        longest: dict[int, int] = {}
        for rollout in rollouts:
            longest[rollout.group] = max(longest.get(rollout.group, 0), rollout.tokens)
        return [
            Score(float(rollout.tokens == longest[rollout.group]) + self.batches)
            for rollout in rollouts
        ]

    def close(self) -> None:
        self.closed = True

    def state(self) -> dict[str, Any]:
        return {"batches": self.batches}

    def load_state(self, state: dict[str, Any]) -> None:
        self.batches = state["batches"]


class RankedReward(Reward):
    def open(self, context: Context) -> Scorer:
        return Ranked()


def test_a_reward_may_see_whole_groups_remember_and_be_closed() -> None:
    """What a rule cannot: the seam for rewards that compare, learn, or have a process."""
    rewards: list[Reward] = [RankedReward(name="ranked"), CorrectAnswer(name="correct_answer")]
    scorer = BatchScorer(rewards, Answer(), Scoring())
    rollouts = [
        Rollout(PROBLEMS[0], RIGHT, tokens, group=group)
        for group, tokens in ((0, 5), (0, 9), (1, 2), (1, 1))
    ]
    assert [one.values()[0] for one in scorer.score(rollouts)] == [1.0, 2.0, 2.0, 1.0]
    other = BatchScorer(rewards, Answer(), Scoring())
    other.load_state(scorer.state())
    assert [one.values()[0] for one in other.score(rollouts)] == [2.0, 3.0, 3.0, 2.0]
    assert [one.total for one in other.score(rollouts)] == [4.0, 5.0, 5.0, 4.0]
    other.close()
    ranked = other.scorers[0]
    assert isinstance(ranked, Ranked)
    assert ranked.closed


def test_the_count_of_faults_is_part_of_the_state(tmp_path: Path) -> None:
    scorer = batch_scorer(tmp_path, on_error="skip_group")
    call(columns_of(scorer), [RIGHT, "raise"])
    resumed = batch_scorer(tmp_path, on_error="skip_group")
    resumed.load_state(scorer.state())
    assert resumed.faults == 1


def test_groups_of_one_text_and_groups_that_are_paid_alike_are_counted_apart() -> None:
    """They need opposite remedies: a hotter policy, or other problems and rewards."""
    right, wrong = "<answer>18</answer>", "<answer>3</answer>"
    pairs = [(wrong, wrong), (wrong, f"{wrong} "), (right, wrong), (wrong, f" {wrong}")]
    rollouts = [
        Rollout(PROBLEMS[group], text, 3, group=group)
        for group, pair in enumerate(pairs)
        for text in pair
    ]
    rewards = [CorrectAnswer(name="correct_answer")]
    measured = measure(BatchScorer(rewards, Answer(), Scoring()).score(rollouts), rewards)
    assert measured["rewards/same_text"] == 0.25
    assert measured["rewards/paid_alike"] == 0.5
    assert measured["rewards/signal_share"] == 0.25


def test_where_there_are_no_right_answers_nothing_is_said_of_them() -> None:
    problem = Problem("1", "Write.", "", kind="none")
    rollouts = [Rollout(problem, text, 3) for text in ("a", "b")]
    rewards = [ThinkFormat(name="think_format")]
    measured = measure(BatchScorer(rewards, Answer(), Scoring()).score(rollouts), rewards)
    assert not [name for name in measured if name.startswith("answers/")]
    assert "rewards/pass@G" not in measured
    assert measured["rewards/paid_alike"] == 1.0
