"""Data sets: every row is read or named; the golds come out as numbers."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from onecard.recipe import Data, load_recipe
from onecard.samples import load_hub, load_samples, prompt_for, read_jsonl, read_rows, target_for
from onecard.types import UserError

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent
GSM8K = ROOT / "../shared/data/gsm8k"
needs_gsm8k = pytest.mark.skipif(not GSM8K.is_dir(), reason="the original GSM8K files are not in ../shared/data/gsm8k")


def data(path: Path) -> Data:
    return Data(path=str(path), max_prompt_length=100)


@needs_gsm8k
@pytest.mark.parametrize(("split", "count"), [("train", 7473), ("test", 1319)])
def test_all_of_gsm8k_loads(split: str, count: int) -> None:
    samples = load_samples(data(GSM8K), split, 0)
    rows = [json.loads(line) for line in (GSM8K / f"{split}.jsonl").open(encoding="utf-8")]
    assert len(samples) == len(rows) == count
    for sample, row in zip(samples, rows, strict=True):
        assert sample.question == row["question"]
        assert Decimal(sample.gold) == Decimal(row["answer"].split("#### ")[1].replace(",", ""))
        assert "<<" not in sample.solution
    assert len({sample.id for sample in samples}) == count


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("work\n#### 2,125", "2125"),
        ("work\n#### 1,450,000", "1450000"),
        ("work\n#### -10", "-10"),
        ("a #### 1\n#### 7", "7"),
        ("#### 0.5 ", "0.5"),
    ],
)
def test_golds_with_commas_and_signs(answer: str, gold: str) -> None:
    assert read_rows([{"question": "q", "answer": answer}], "rows")[0].gold == gold


@pytest.mark.parametrize("answer", ["7", "#### seven", "#### 3,5", "#### \u0661\u0668", "####", "#### 1 2", "#### --1", "#### 1e5"])
def test_a_row_without_a_number_for_gold_is_named(answer: str) -> None:
    with pytest.raises(UserError, match="rows, row 2: the answer must end in '#### NUMBER'"):
        read_rows([{"question": "q", "answer": "#### 1"}, {"question": "q", "answer": answer}], "rows")


def test_unusual_line_ends_inside_a_question_break_nothing(tmp_path: Path) -> None:
    question = "one\u2028two\u2029three\x85four\x0bfive"
    row = json.dumps({"question": question, "answer": "#### 4"}, ensure_ascii=False)
    (tmp_path / "train.jsonl").write_text(f"{row}\r\n{row}\n", encoding="utf-8", newline="")
    assert [sample.question for sample in load_samples(data(tmp_path), "train", 0)] == [question, question]


def test_bad_utf8_is_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(b'{"question": "q", "answer": "#### 1"}\n{"question": "\xff"}\n')
    with pytest.raises(UserError, match="line 2: not JSON"):
        read_jsonl(tmp_path / "train.jsonl")


def test_calculator_annotations_are_left_out_of_solutions() -> None:
    sample = read_rows([{"question": "q", "answer": "9*2 = $<<9*2=18>>18.\nSo 18.\n#### 18"}], "rows")[0]
    assert sample.solution == "9*2 = $18.\nSo 18."


def test_a_hub_data_set_is_read_by_the_same_code(tmp_path: Path) -> None:
    """datasets.load_dataset takes a folder that is laid out like a hub repository, so the real loader runs here."""
    (tmp_path / "train.jsonl").write_text('{"question": "What is 1 + 1?", "answer": "1 + 1 = 2\\n#### 2"}\n')
    samples = load_hub(str(tmp_path), None, "train")
    assert [(sample.question, sample.gold) for sample in samples] == [("What is 1 + 1?", "2")]


def test_prompt_and_target_are_chat_messages() -> None:
    recipe = load_recipe(ROOT / "recipes/tiny.yaml", ["data.system_prompt=Think."])
    sample = read_rows([{"question": "q", "answer": "1 + 1 = 2\n#### 2"}], "rows")[0]
    assert prompt_for(sample, recipe.data) == [{"role": "system", "content": "Think."}, {"role": "user", "content": "q"}]
    assert target_for(sample, recipe) == [{"role": "assistant", "content": "<think>1 + 1 = 2</think><answer>2</answer>"}]
