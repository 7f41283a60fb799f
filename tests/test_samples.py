"""Data sets: every row is read or named; the golds come out as numbers."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from onecard.data.prompts import prompt_for, target_for
from onecard.data.rows import read_rows
from onecard.data.stored import Stored
from onecard.files.formats import read_jsonl
from onecard.model.random_model import with_fillers
from onecard.recipe.file import load_recipe
from onecard.types import UserError

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent
GSM8K = ROOT / "../shared/data/gsm8k"
needs_gsm8k = pytest.mark.skipif(
    not GSM8K.is_dir(), reason="the original GSM8K files are not in ../shared/data/gsm8k"
)


@needs_gsm8k
def test_all_of_gsm8k_loads_and_its_dev_split_is_carved_from_train() -> None:
    splits = {split: Stored(str(GSM8K)).load(split) for split in ("train", "dev", "test")}
    assert {split: len(problems) for split, problems in splits.items()} == {
        "train": 6979,
        "dev": 494,
        "test": 1319,
    }
    assert (
        len({problem.question for problems in splits.values() for problem in problems})
        == 7473 + 1319
    )  # disjoint
    for file, problems in (("train", splits["train"] + splits["dev"]), ("test", splits["test"])):
        rows = [json.loads(line) for line in (GSM8K / f"{file}.jsonl").open(encoding="utf-8")]
        by_id = {problem.id: problem for problem in problems}
        assert len(by_id) == len(rows)
        for number, row in enumerate(rows, start=1):
            problem = by_id[str(number)]
            assert problem.question == row["question"]
            assert Decimal(problem.gold) == Decimal(
                row["answer"].split("#### ")[1].replace(",", "")
            )
            assert "<<" not in problem.solution


def rows_file(folder: Path, split: str, count: int) -> None:
    lines = [json.dumps({"question": f"{split} {n}", "answer": f"{n}"}) for n in range(count)]
    (folder / f"{split}.jsonl").write_text("\n".join(lines))


def test_dev_is_carved_by_the_question_alone_unless_there_is_a_file_of_it(tmp_path: Path) -> None:
    rows_file(tmp_path, "train", 100)
    train, dev = (Stored(str(tmp_path)).load(split) for split in ("train", "dev"))
    assert sorted(int(p.gold) for p in train + dev) == list(range(100))
    assert 0 < len(dev) < 20
    lines = (tmp_path / "train.jsonl").read_text().split("\n")
    (tmp_path / "train.jsonl").write_text("\n".join(reversed(lines)))
    assert {p.question for p in Stored(str(tmp_path)).load("dev")} == {p.question for p in dev}
    rows_file(tmp_path, "dev", 3)
    assert len(Stored(str(tmp_path)).load("train")) == 100
    assert [p.question for p in Stored(str(tmp_path)).load("dev")] == [
        "dev 0",
        "dev 1",
        "dev 2",
    ]


def test_too_few_rows_to_carve_from_are_told(tmp_path: Path) -> None:
    rows_file(tmp_path, "train", 2)
    with pytest.raises(UserError, match="2 training rows are too few to carve a dev split from"):
        Stored(str(tmp_path)).load("dev")


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("work\n#### 2,125", "2125"),
        ("work\n#### 1,450,000", "1450000"),
        ("work\n#### -10", "-10"),
        ("a #### 1\n#### 7", "7"),
        ("#### 0.5 ", "0.5"),
        ("7", "7"),
        (" 1,200 ", "1200"),
    ],
)
def test_golds_with_commas_and_signs(answer: str, gold: str) -> None:
    assert read_rows([{"question": "q", "answer": answer}], "rows")[0].gold == gold


@pytest.mark.fault("a row whose answer is not a number", "refused with the row's number")
@pytest.mark.parametrize(
    "answer",
    [
        "seven",
        "so 7",
        "#### seven",
        "#### 3,5",
        "#### \u0661\u0668",
        "####",
        "#### 1 2",
        "#### --1",
        "#### 1e5",
    ],
)
def test_a_row_without_a_number_for_gold_is_named(answer: str) -> None:
    with pytest.raises(
        UserError, match="rows, row 2: the answer must be a number or end in '#### NUMBER'"
    ):
        read_rows(
            [{"question": "q", "answer": "#### 1"}, {"question": "q", "answer": answer}], "rows"
        )


def test_unusual_line_ends_inside_a_question_break_nothing(tmp_path: Path) -> None:
    question = "one\u2028two\u2029three\x85four\x0bfive"
    row = json.dumps({"question": question, "answer": "#### 4"}, ensure_ascii=False)
    (tmp_path / "train.jsonl").write_text(f"{row}\r\n{row}\n", encoding="utf-8", newline="")
    assert [problem.question for problem in Stored(str(tmp_path)).load("train")] == [
        question,
        question,
    ]


@pytest.mark.fault("data that is no UTF-8", "refused with the line's number")
def test_bad_utf8_is_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(
        b'{"question": "q", "answer": "#### 1"}\n{"question": "\xff"}\n'
    )
    with pytest.raises(UserError, match="line 2: not UTF-8 at byte 0xff"):
        read_jsonl(tmp_path / "train.jsonl")


@pytest.mark.fault(
    "a row with a column missing, a null, a number for text, a megabyte of text",
    "refused with the row's number",
)
@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"question": "q"}, "no text in column 'answer' (the row has: question)"),
        ({"problem": "q", "answer": "1"}, "no text in column 'question'"),
        ({"question": "q", "answer": None}, "no text in column 'answer'"),
        ({"question": 7, "answer": "1"}, "no text in column 'question'"),
        ({"question": "  ", "answer": "1"}, "no text in column 'question'"),
        (["q", "1"], "no text in column 'question' (the row has: list)"),
        (
            {"question": "q" * 10**6, "answer": "1"},
            "1,000,000 characters in column 'question', and 100,000 are taken",
        ),
        (
            {"question": "q", "answer": "1", "id": 1.5},
            "the id must be text or a whole number, got 1.5",
        ),
    ],
)
def test_a_bad_row_is_named(row: Any, told: str) -> None:
    with pytest.raises(UserError) as caught:
        read_rows([{"question": "q", "answer": "#### 1"}, row], "rows")
    assert str(caught.value).startswith("rows, row 2: ")
    assert told in str(caught.value)


@pytest.mark.fault("two rows with one id", "refused with both rows' numbers")
@pytest.mark.parametrize("ids", [("a", "a"), (7, "7"), (None, 1)])
def test_ids_stand_once(ids: tuple[Any, Any]) -> None:
    rows = [
        {"question": f"q{n}", "answer": "1", **({} if name is None else {"id": name})}
        for n, name in enumerate(ids)
    ]
    with pytest.raises(UserError, match=r"rows, row 2: the id '\w' stands in row 1 already"):
        read_rows(rows, "rows")


def test_a_problem_is_known_by_its_rows_id() -> None:
    assert [
        p.id
        for p in read_rows(
            [{"question": "q", "answer": "1", "id": "x7"}, {"question": "r", "answer": "1"}], "rows"
        )
    ] == [
        "x7",
        "2",
    ]


def test_calculator_annotations_are_left_out_of_solutions() -> None:
    problem = read_rows(
        [{"question": "q", "answer": "9*2 = $<<9*2=18>>18.\nSo 18.\n#### 18"}], "rows"
    )[0]
    assert problem.solution == "9*2 = $18.\nSo 18."


def test_a_hub_data_set_is_read_by_the_same_code(tmp_path: Path) -> None:
    """datasets.load_dataset takes a folder that is laid out like a hub repository, so the real
    loader runs here.
    """
    (tmp_path / "train.jsonl").write_text(
        '{"question": "What is 1 + 1?", "answer": "1 + 1 = 2\\n#### 2"}\n'
    )
    problems = Stored("no-such-folder", hub_id=str(tmp_path)).load("train")
    assert [(problem.question, problem.gold) for problem in problems] == [("What is 1 + 1?", "2")]


def test_prompt_and_target_are_chat_messages() -> None:
    recipe = load_recipe(ROOT / "recipes/tiny.yaml", ["data.system_prompt=Think."])
    problem = read_rows([{"question": "q", "answer": "1 + 1 = 2\n#### 2"}], "rows")[0]
    assert prompt_for(problem, recipe.data.system_prompt) == [
        {"role": "system", "content": "Think."},
        {"role": "user", "content": "q"},
    ]
    assert target_for(problem, recipe.answer.format) == [
        {"role": "assistant", "content": "<think>1 + 1 = 2</think><answer>2</answer>"}
    ]


def test_a_random_model_of_a_real_shape_has_a_word_for_every_token() -> None:
    """Else what it writes is mostly no text, and no two evaluations of it could be told apart."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    bpe.train_from_iterator(
        ["Ann has 7 apples."] * 9,
        trainers.BpeTrainer(vocab_size=60, special_tokens=["<|pad|>"], show_progress=False),
    )
    filled = with_fillers(bpe, 3000)
    assert filled.get_vocab_size() == 3000
    assert len({filled.decode([number]) for number in range(1, 3000)}) == 2999
    text = "Ann has 7 apples. w2000"
    assert filled.encode(text).ids == bpe.encode(text).ids
