"""Published benchmarks, on rows of the form that they have on the hub."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval.__main__ import load_tasks, parse
from eval.benchmarks import BENCHMARKS, load_benchmark, load_exemplars
from eval.published import PUBLISHED
from onecard.recipe.file import load_recipe
from onecard.types import UserError, Verdict
from rewards.answer import grade

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent

# A row of each, with the columns that its authors gave it, and an answer that is right.
ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "gsm8k-platinum": (
        {"question": "Q", "answer": "3 + 4 = <<3+4=7>>7\n#### 7", "cleaning_status": "consensus"},
        "7",
    ),
    "gsm-plus": (
        {
            "question": "Q",
            "solution": "S",
            "answer": "3/4",
            "perturbation_type": "integer-decimal-fraction conversion",
            "seed_question": "Q0",
            "seed_solution": "S0",
            "seed_answer": "1",
        },
        "\\frac{3}{4}",
    ),
    "gsm-plus-doubt": (
        {
            "question": "Q",
            "solution": "S",
            "answer": "None",
            "perturbation_type": "critical thinking",
            "seed_question": "Q0",
        },
        "It cannot be determined.",
    ),
    "math-500": (
        {
            "problem": "Q",
            "solution": "S",
            "answer": "\\left( 3, \\frac{\\pi}{2} \\right)",
            "subject": "Precalculus",
            "level": 2,
            "unique_id": "test/precalculus/807.json",
        },
        "(3, \\frac{\\pi}{2})",
    ),
    "aime-2024": (
        {"id": 60, "problem": "Q", "solution": "S", "answer": "204", "url": "U", "year": "2024"},
        "204",
    ),
    "aime-2025": ({"problem": "Q", "answer": "070", "id": "0"}, "70"),
    "mmlu-pro-math": (
        {
            "question_id": 7680,
            "question": "Q",
            "options": ["one", "two", "three"],
            "answer": "C",
            "answer_index": 2,
            "cot_content": "",
            "category": "math",
            "src": "ori_mmlu",
        },
        "C",
    ),
}
OTHERS = {  # rows of the same file that are no part of the benchmark
    "gsm-plus": ROWS["gsm-plus-doubt"][0],
    "gsm-plus-doubt": ROWS["gsm-plus"][0],
    "mmlu-pro-math": ROWS["mmlu-pro-math"][0] | {"category": "law", "question_id": 1},
}
IDS = {
    "math-500": "unique_id",
    "aime-2024": "id",
    "aime-2025": "id",
    "mmlu-pro-math": "question_id",
}


def write_rows(root: Path, name: str, count: int) -> None:
    row = ROWS[name][0]
    text = "problem" if "problem" in row else "question"
    lines = []
    for number in range(count):
        one = row | {text: f"What is number {number}?"}
        if name in IDS:
            one[IDS[name]] = number
        lines.append(json.dumps(one))
    if name in OTHERS:
        lines.append(json.dumps(OTHERS[name]))
    folder = root / (PUBLISHED[name].folder or name)
    folder.mkdir()
    (folder / "test.jsonl").write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize("name", PUBLISHED)
def test_rows_as_published_are_read_and_graded_by_their_kind(name: str, tmp_path: Path) -> None:
    write_rows(tmp_path, name, PUBLISHED[name].problems)
    problems = load_benchmark(name, None, tmp_path)
    assert len(problems) == PUBLISHED[name].problems
    first = problems[0]
    assert "What is number 0?" in first.question
    for said, verdict in ((ROWS[name][1], Verdict.CORRECT), ("12345", Verdict.WRONG)):
        score = grade(f"\\boxed{{{said}}}", first.gold, kind=first.kind)
        assert score.verdict == verdict, said


def test_rows_that_are_too_few_are_no_benchmark(tmp_path: Path) -> None:
    write_rows(tmp_path, "aime-2024", 29)
    with pytest.raises(UserError, match=r"aime-2024: it has 30 problems, but .* gives 29"):
        load_benchmark("aime-2024", None, tmp_path)


def test_choices_are_listed_with_their_letters(tmp_path: Path) -> None:
    write_rows(tmp_path, "mmlu-pro-math", 1351)
    question = load_benchmark("mmlu-pro-math", None, tmp_path)[3].question
    assert question == "What is number 3?\n\nA. one\nB. two\nC. three"


def test_it_is_asked_with_its_usual_prompt_unless_a_recipe_says_another(tmp_path: Path) -> None:
    write_rows(tmp_path, "aime-2025", 30)
    asked = ["some/model", "--benchmark", "aime-2025", "--data", str(tmp_path)]
    task = load_tasks(parse(asked), None)["aime-2025"]
    assert task.system_prompt == BENCHMARKS["aime-2025"].prompt
    recipe = load_recipe(ROOT / "recipes/gsm8k-qwen2.5-1.5b.yaml")
    task = load_tasks(parse(asked), recipe)["aime-2025"]
    assert task.system_prompt == recipe.data.system_prompt != BENCHMARKS["aime-2025"].prompt


def test_solved_problems_before_it_are_gsm8ks() -> None:
    if not (ROOT / "../shared/data/gsm8k").is_dir():
        pytest.skip("the original GSM8K files are not in ../shared/data/gsm8k")
    root = ROOT / "../shared/data"
    assert load_exemplars("math-500", None, 2, root) == load_exemplars("gsm8k", None, 2, root)
