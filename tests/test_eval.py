"""Benchmarks, extraction as lm-evaluation-harness does it, tasks, and statistics against published
values.
"""

import json
import math
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import item

from eval.benchmarks import BENCHMARKS, flexible, load_benchmark, same_answer, strict
from eval.scores import compare, scores
from eval.statistics import (
    holm,
    majority,
    mean_interval,
    newcombe_interval,
    paired_difference,
    pass_at,
)
from eval.task import Task, load_task
from onecard.data.rows import read_rows
from onecard.data.sameness import by_words, check_unseen
from onecard.data.section import Data
from onecard.data.source import Source, open_source
from onecard.data.stored import Stored
from onecard.data.svamp import worked
from onecard.types import EvalResult, Problem, Sampling, UserError, Verdict

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent
SHARED = ROOT / "../shared/data"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="GSM8K's and SVAMP's files are not in ../shared/data"
)
EXTRACTIONS = [
    json.loads(line)
    for line in (
        (Path(__file__).parent / "cases/extractions.jsonl").read_text(encoding="utf-8").split("\n")
    )
    if line
]


def test_extraction_is_the_harness_s_on_every_case() -> None:
    """What lm-eval 0.4.13 extracted and scored; tests/cases/make_extractions.py made the file with
    lm-eval itself.
    """
    assert len(EXTRACTIONS) >= 1000
    assert (
        {case["strict_match"] for case in EXTRACTIONS}
        == {case["flexible_match"] for case in EXTRACTIONS}
        == {True, False}
    )
    for case in EXTRACTIONS:
        gold = read_rows([{"question": "q", "answer": case["answer"]}], "cases")[0].gold
        found = strict(case["completion"]), flexible(case["completion"])
        assert found == (case["strict"], case["flexible"]), case
        assert same_answer(found[0], gold) == case["strict_match"], case
        assert same_answer(found[1], gold) == case["flexible_match"], case


def test_wilson_interval_has_its_published_values() -> None:
    low, high = mean_interval([1.0] * 81 + [0.0] * 182)  # Newcombe 1998, table I: 0.2553 to 0.3662
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert mean_interval([0.0] * 20)[0] == 0.0


def test_shares_get_a_bootstrap_interval_over_problems() -> None:
    values = [0.25, 0.75] * 200
    low, high = mean_interval(values)
    half_width = 1.96 * 0.25 / math.sqrt(400)
    assert low == pytest.approx(0.5 - half_width, abs=0.002)
    assert high == pytest.approx(0.5 + half_width, abs=0.002)


def test_mcnemar_is_the_exact_binomial_test() -> None:
    before = [False] * 9 + [True] * 1 + [True] * 40
    after = [True] * 9 + [False] * 1 + [True] * 40
    difference = paired_difference(before, after)
    assert difference.points == pytest.approx(16.0)
    assert difference.p_value == pytest.approx(2 * (1 + 10) / 2**10)
    assert difference.ci_low < 16.0 < difference.ci_high


def test_no_change_is_no_evidence() -> None:
    difference = paired_difference([True, False] * 10, [True, False] * 10)
    assert (difference.points, difference.p_value) == (0.0, 1.0)
    assert (
        difference.ci_low < -5 < 5 < difference.ci_high
    )  # twenty problems cannot show that nothing changed


def test_bootstrap_interval_agrees_with_the_normal_one_on_many_problems() -> None:
    before, after = (
        [False] * 300 + [True] * 700,
        [True] * 200 + [False] * 100 + [True] * 650 + [False] * 50,
    )
    difference = paired_difference(before, after)
    half_width = 1.96 * ((0.25 - 0.15**2) / 1000) ** 0.5 * 100
    assert difference.points == pytest.approx(15.0)
    assert difference.ci_low == pytest.approx(15.0 - half_width, abs=0.2)
    assert difference.ci_high == pytest.approx(15.0 + half_width, abs=0.2)


def test_few_changed_problems_get_an_interval_that_covers() -> None:
    """Simulated: 60 problems, 8 % fixed and 2 % broken; the bootstrap, used alone, covers in 92 %
    of draws.
    """
    rng = np.random.default_rng(0)
    covered = few = 0
    outcomes = [(0, 1), (1, 0), (1, 1), (0, 0)]
    for _ in range(2000):
        counts = rng.multinomial(60, [0.08, 0.02, 0.4, 0.5])
        pairs = [pair for pair, count in zip(outcomes, counts, strict=True) for _ in range(count)]
        fixed, broken, *_ = counts
        low, high = newcombe_interval(*zip(*pairs, strict=True))
        covered += low <= 0.06 <= high
        few += fixed + broken < 10
    assert few > 1500
    assert covered / 2000 >= 0.94


def test_one_sided_change_of_every_problem_is_no_certainty() -> None:
    difference = paired_difference([False] * 5, [True] * 5)
    assert difference.points == 100.0
    assert difference.ci_low < 60


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1 / 3, 2 / 3, 0.0, 1.0] * 100, [1 / 3, 2 / 3, 0.0, 1.0] * 100),
        ([0.25] * 8, [0.75] * 8),
        ([1 / 3] * 500 + [0.0] * 4, [1 / 3] * 500 + [1 / 3] * 4),
    ],
)
def test_pooled_seeds_are_no_certainty_either(before: list[float], after: list[float]) -> None:
    """A few problems changed, or none: other problems could have fallen too."""
    difference = paired_difference(before, after)
    assert difference.ci_low < difference.points < difference.ci_high
    if difference.p_value > 0.05:
        assert difference.ci_low < 0 < difference.ci_high


def test_pooled_seeds_with_few_changes_get_an_interval_that_covers() -> None:
    """Simulated: means of three seeds; of 200 problems six change by a third on average."""
    rng = np.random.default_rng(0)
    covered = few = 0
    for _ in range(1000):
        before = rng.integers(0, 3, 200) / 3
        after = before + (rng.random(200) < 0.03) / 3
        low, high = newcombe_interval(before.tolist(), after.tolist())
        covered += low <= 0.01 <= high
        few += int((after != before).sum()) < 10
    assert few > 800
    assert covered / 1000 >= 0.94


def test_of_many_comparisons_p_is_corrected() -> None:
    """Holm's own steps: the least p times 4, the next times 3, never below one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_samples_that_are_all_alike_are_no_certainty() -> None:
    low, high = mean_interval([0.5] * 5)
    assert low < 0.2 < 0.8 < high


def test_shares_are_tested_by_flipping_signs() -> None:
    """Six problems that all gain: of the 64 ways to flip signs two are as extreme."""
    difference = paired_difference([0.25] * 6, [0.5] * 6)
    assert difference.points == pytest.approx(25.0)
    assert difference.p_value == pytest.approx(2 / 64, abs=0.001)


@pytest.mark.parametrize(("samples", "correct"), [(5, 0), (5, 1), (5, 3), (8, 8)])
def test_pass_at_k_is_the_share_of_all_draws_of_k_with_a_right_one(
    samples: int, correct: int
) -> None:
    for k in range(1, samples + 1):
        draws = list(combinations([True] * correct + [False] * (samples - correct), k))
        assert pass_at(k, samples, correct) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize(
    ("answers", "gold", "value"),
    [
        (["7", "7", "8"], "7", 1.0),
        (["7", "8", "8"], "7", 0.0),
        (["7", "8", None, None, None], "7", 0.5),  # those without an answer do not vote
        (["7", "8", "9"], "7", 1 / 3),
        (["7", "7", "8", "8", "9"], "9", 0.0),
        ([None, None], "7", 0.0),
    ],
)
def test_majority_and_its_ties(answers: list[str | None], gold: str, value: float) -> None:
    assert majority(answers, [answer == gold for answer in answers]) == pytest.approx(value)


def test_scores_of_several_samples_a_problem() -> None:
    right = [[True, True, False, False], [True, False, False, False], [False] * 4]
    items = [
        item(n, ok, sample=s, extracted=("1.0" if s else "1") if ok else "2")
        for n, row in enumerate(right)
        for s, ok in enumerate(row)
    ]
    found = scores(EvalResult("tiny", tuple(items)))
    assert (found["n"], found["samples"]) == (3, 4)
    assert found["accuracy"] == pytest.approx(3 / 12)
    assert found["pass@2"] == pytest.approx((5 / 6 + 1 / 2 + 0) / 3)
    assert found["pass@4"] == pytest.approx(2 / 3)
    assert found["maj@4"] == pytest.approx(
        0.5 / 3
    )  # 1 and 1.0 are one vote: the first problem is a tie, the second is lost
    assert found["pass@4_ci"][0] < 2 / 3 < found["pass@4_ci"][1]


def test_one_answer_written_twice_is_one_vote() -> None:
    """`18 | $18`: declared twice, graded right; the tie of two against two stays a tie."""
    items = [
        item(0, True, sample=0, gold="18", extracted="18 | $18"),
        item(0, True, sample=1, gold="18", extracted="18"),
        item(0, False, sample=2, gold="18", extracted="7"),
        item(0, False, sample=3, gold="18", extracted="7"),
    ]
    assert scores(EvalResult("tiny", tuple(items)))["maj@4"] == 0.5


def test_what_was_not_asked_is_not_called_cut() -> None:
    items = (
        item(0, True),
        item(1, False, "", tokens=0, truncated=True, verdict=Verdict.TRUNCATED, extracted=None),
    )
    found = scores(EvalResult("tiny", items))
    assert (found["not_asked"], found["truncated"], found["accuracy"], found["mean_tokens"]) == (
        0.5,
        0.0,
        0.5,
        10.0,
    )


def test_shares_of_failures() -> None:
    items = (
        item(0, True),
        item(1, False, verdict=Verdict.NO_ANSWER, extracted=None),
        item(2, False, verdict=Verdict.TRUNCATED, extracted=None, truncated=True),
        item(3, True, truncated=True),
    )
    found = scores(EvalResult("tiny", items))
    assert (found["no_answer"], found["truncated"], found["accuracy"]) == (0.5, 0.5, 0.5)


def test_confusion_counts_every_problem() -> None:
    before, after = (
        EvalResult("tiny", tuple(item(n, n in right) for n in range(10)))
        for right in ({0, 1, 2}, {0, 3, 4, 5, 6})
    )
    found = compare(before, after)
    assert found["confusion"] == {"fixed": 4, "broken": 2, "still_right": 1, "still_wrong": 3}
    assert found["difference"]["points"] == pytest.approx(20.0)


def test_benchmarks_have_the_size_they_state() -> None:
    assert len(load_benchmark("tiny", None)) == 512
    assert len(tiny_task().problems) == 2


@needs_shared
@pytest.mark.parametrize("name", ["gsm8k", "gsm8k-dev", "svamp"])
def test_real_benchmarks_load_whole_from_a_recipe_s_neighbourhood(name: str) -> None:
    own = Stored(str(SHARED / "gsm8k"))
    assert len(load_benchmark(name, own)) == BENCHMARKS[name].problems
    assert len({problem.id for problem in load_benchmark(name, own)}) == BENCHMARKS[name].problems


@needs_shared
def test_svamp_s_golds_and_questions() -> None:
    first = load_benchmark("svamp", Stored(str(SHARED / "gsm8k")))[0]
    assert (first.id, first.gold) == ("1", "51")
    assert (
        first.question
        == "Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars on each pack "
        "How much do you have to pay to buy each pack?"
    )


def test_a_benchmark_is_never_some_other_data_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k/test.jsonl").write_text(
        json.dumps({"question": "What is 1 + 1?", "answer": "2"})
    )
    with pytest.raises(
        UserError, match=r"gsm8k: it has 1,319 problems, but .* gives 1; .* is the benchmark `test`"
    ):
        load_benchmark("gsm8k", Stored(str(tmp_path / "gsm8k")))
    assert len(load_benchmark("test", Stored(str(tmp_path / "gsm8k")))) == 1


def task_of(benchmark: str, own: Source | None = None, root: Path | None = None) -> Task:
    return load_task(
        benchmark, own, Sampling(48, 8), system_prompt=None, answer_format="auto", root=root
    )


@needs_shared
def test_known_rows_keep_their_name_and_others_of_the_same_number_do_not(tmp_path: Path) -> None:
    for name in ("gsm8k", "gsm8k-dev", "svamp"):
        assert task_of(name, root=SHARED).benchmark == name
    assert task_of("tiny").benchmark == "tiny"
    (tmp_path / "gsm8k").mkdir()
    rows = (json.dumps({"question": f"{n} + 1?", "answer": str(n + 1)}) for n in range(1319))
    (tmp_path / "gsm8k/test.jsonl").write_text("\n".join(rows))
    assert task_of("gsm8k", root=tmp_path).benchmark == "gsm8k-other-rows"


def test_a_file_of_rows_may_not_take_a_benchmark_s_name(tmp_path: Path) -> None:
    for name in ("gsm8k.jsonl", ".jsonl", "...jsonl", "a b.jsonl"):
        (tmp_path / name).write_text('{"question": "q", "answer": "1"}')
        with pytest.raises(UserError, match="give the file a plain name that is no benchmark's"):
            task_of(str(tmp_path / name))
    (tmp_path / "mine.jsonl").write_text('{"question": "q", "answer": "1"}')
    assert task_of(str(tmp_path / "mine.jsonl")).benchmark == "mine"


def test_a_named_data_folder_is_never_replaced_by_another(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--data {tmp_path}: there is no folder gsm8k/ in it"):
        task_of("gsm8k", root=tmp_path)


@pytest.mark.fault("test problems among the training rows", "refused with the rows' numbers")
def test_problems_that_were_trained_on_are_refused_with_their_rows() -> None:
    task = tiny_task()
    problems = [
        Problem("7", f" {task.problems[1].question}\n", "1"),
        Problem("8", "something else", "2"),
    ]
    with pytest.raises(
        UserError, match=r"1 problems of tiny are in the training data: rows 2 \(training row 7\)"
    ):
        check_unseen(by_words(problems), task.problems, task.benchmark, accept=())
    assert check_unseen(by_words(problems[1:]), task.problems, task.benchmark, accept=()) == []
    told = check_unseen(by_words(problems), task.problems, task.benchmark, accept=("leaks",))
    assert "1 problems of tiny are in the training data" in told[0]


@needs_shared
def test_svamp_is_data_to_train_on_too(tmp_path: Path) -> None:
    source = open_source(Data(path=str(SHARED / "svamp"), max_prompt_length=160), None)
    splits = {split: source.load(split) for split in ("train", "dev", "test")}
    assert [len(problems) for problems in splits.values()] == [600, 100, 300]
    every = {problem.id for problems in splits.values() for problem in problems}
    assert len(every) == 1000  # no row is in two of them
    by_number = {problem.id: problem for problems in splits.values() for problem in problems}
    assert by_number["9"].solution == "10 - 6 = 4"
    assert by_number["8"].gold == by_number["8"].solution.rpartition("= ")[2]
    assert by_number["680"].solution == ""  # its equation gives 5, and its answer is 1
    two = [problem.solution for problem in splits["train"] if "\n" in problem.solution]
    assert len(two) > 100
    # The benchmark of the same name has the rows that are trained on.
    own = source.load("train")
    asked = {problem.question for problem in load_benchmark("svamp", source)}
    assert {problem.question for problem in own} < asked


@pytest.mark.parametrize(
    ("equation", "steps"),
    [
        ("( 76.0 - 25.0 )", "76 - 25 = 51"),
        ("( ( 9.0 + 62.0 ) + 140.0 )", "9 + 62 = 71\n71 + 140 = 211"),
        ("( 300.0 - ( 3.0 * 2.5 ) )", "3 * 2.5 = 7.5\n300 - 7.5 = 292.5"),
        ("( 4.0 - 9.0 )", "4 - 9 = -5"),
        ("8.0", ""),
    ],
)
def test_an_equation_step_by_step(equation: str, steps: str) -> None:
    assert worked(equation, steps.rpartition("= ")[2] or "8") == steps
    assert worked(equation, "12345") == ""


def test_svamp_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "svamp").mkdir()
    for content, told in (("[{}]", "not SVAMP's rows"), ("[{", "not JSON")):
        (tmp_path / "svamp/SVAMP.json").write_text(content)
        with pytest.raises(UserError, match=told):
            load_benchmark("svamp", Stored(str(tmp_path / "gsm8k")))


def tiny_task(shots: int = 0, system_prompt: str | None = None) -> Task:
    sampling = Sampling(max_completion_length=48, batch_size=8)
    return load_task(
        "tiny",
        None,
        sampling,
        system_prompt=system_prompt,
        answer_format="answer",
        shots=shots,
        limit=2,
    )


def test_few_shot_prompts_are_the_harness_s() -> None:
    """lm-eval's gsm8k task: "Question: ...\\nAnswer: working\\n#### gold", blocks apart by an empty
    line, and no chat template.
    """
    task = tiny_task(shots=8, system_prompt="Think.")
    text = task.prompt(task.problems[0], SimpleNamespace(chat_template=None))
    blocks = text.split("\n\n")
    assert len(blocks) == 9
    for block, shown in zip(blocks, task.exemplars, strict=False):
        assert block == f"Question: {shown.question}\nAnswer: {shown.solution}\n#### {shown.gold}"
    assert blocks[-1] == f"Question: {task.problems[0].question}\nAnswer:"
    assert task.answer_format == "hash"
    assert task.system_prompt is None  # not put, so not stored as if it were


def test_exemplars_are_never_the_problems_asked() -> None:
    task = tiny_task(shots=8)
    everything = {problem.question for problem in load_benchmark("tiny", None)}
    assert not everything & {shown.question for shown in task.exemplars}


def test_a_bare_gold_s_exemplar_has_no_empty_line() -> None:
    shown = Problem("1", "What is 1 + 1?", "2")
    task = Task("mine", 1, (shown,), None, (shown,), "hash", Sampling(48, 8))
    assert task.prompt(shown, None).startswith(
        "Question: What is 1 + 1?\nAnswer:\n#### 2\n\nQuestion:"
    )


def test_zero_shot_needs_a_chat_template() -> None:
    with pytest.raises(UserError, match=r"no chat template.*--shots 8"):
        tiny_task().prompt(Problem("1", "q", "1"), SimpleNamespace(chat_template=None))


def test_settings_tell_other_problems_and_other_exemplars_apart() -> None:
    one, other = tiny_task().settings(), tiny_task(shots=2).settings()
    assert one["benchmark"] == other["benchmark"]
    assert one["prompt"] != other["prompt"]
    shorter = load_task(
        "tiny", None, Sampling(48, 8), system_prompt=None, answer_format="answer", limit=1
    ).settings()
    assert shorter["benchmark"] != one["benchmark"]
