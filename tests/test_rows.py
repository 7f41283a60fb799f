"""Rows of one's own: files and encodings, columns, golds, prompts, and rows that ask the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.task import digest
from onecard.data.prompts import prompt_for
from onecard.data.rows import Reading, columns_of, read_rows
from onecard.data.sameness import by_words, check_rows, check_unseen, plain_words
from onecard.data.stored import OneFile, Stored
from onecard.files.tables import read_table
from onecard.recipe.file import load_recipe
from onecard.types import Problem, Rollout, UserError
from rewards.base import Moment
from rewards.custom.call import arguments

pytestmark = pytest.mark.unit
ROOT = Path(__file__).parent.parent
GSM8K = ROOT / "../shared/data/gsm8k"
# What pandas and Arrow change: a date, a number, nothing, one struct of all objects.
ROWS: list[dict[str, Any]] = [
    {"question": "q0", "answer": "11", "when": "2024-05-01", "code": "007", "extra": {"x": 1}},
    {"question": "q1", "answer": "12", "when": "NA", "code": "08", "extra": {"y": [2, None]}},
]


def write_rows(folder: Path, rows: list[dict[str, Any]], encoding: str = "utf-8") -> Path:
    file = folder / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding=encoding)
    return file


def test_columns_stay_as_they_were_written(tmp_path: Path) -> None:
    problems = read_rows(read_table(write_rows(tmp_path, ROWS)), "rows")
    given = arguments([Rollout(problem, "x", 1) for problem in problems], Moment())
    assert given["when"] == ["2024-05-01", "NA"]
    assert given["code"] == ["007", "08"]
    assert given["extra"] == [{"x": 1}, {"y": [2, None]}]
    assert given["answer"] == given["solution"] == given["gold"] == ["11", "12"]
    assert columns_of(problems) == {"question", "answer", "when", "code", "extra"}


def test_csv_is_text_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text('question;answer;code\n"two\nlines; and ""quotes""";007;NA\nq;1;\n')
    rows = read_table(file)
    assert rows[0] == {"question": 'two\nlines; and "quotes"', "answer": "007", "code": "NA"}
    assert rows[1]["code"] == ""


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"question,answer\nq,1,2\n", "line 2: more values than the 2 columns"),
        ("a.csv", b"question,answer\nq\n", "line 2: fewer values than the 2 columns"),
        ("a.csv", b'question,answer\n"q,1\n', "not CSV"),
        ("a.json", b'{"question": "q"}', "wanted a list of rows"),
        ("a.json", b"[{]", "not JSON"),
        ("a.parquet", b"PAR0", "not Parquet"),
        ("a.xlsx", b"PK", "no file of rows; wanted one that ends in .jsonl"),
        ("a.jsonl", '{"question": "größer"}'.encode("latin-1"), "not UTF-8 at byte 0xf6"),
        ("a.jsonl", '{"question": "q"}'.encode("utf-16-le"), "it has zero bytes, so it is UTF-16"),
        ("a.jsonl", b"\xff\xfe{\0x", "its byte order mark says UTF-16"),
    ],
)
@pytest.mark.fault("a CSV, JSON or Parquet file that is broken, other encodings", "told, exit 2")
def test_a_broken_file_is_named_for_what_it_is(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_table(tmp_path / name)
    assert told in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_read(tmp_path: Path, encoding: str) -> None:
    """PowerShell writes UTF-16 with one, and Excel UTF-8 with one."""
    rows = [{"question": "größer 数", "answer": "1"}]
    assert read_table(write_rows(tmp_path, rows, encoding)) == rows
    (tmp_path / "a.csv").write_text("question,answer\ngrößer,1\n", encoding=encoding)
    assert read_table(tmp_path / "a.csv") == [{"question": "größer", "answer": "1"}]


def test_parquet_rows_are_read(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"question": "q", "answer": "007", "nums": [1, 2]}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "train.parquet")
    assert read_table(tmp_path / "train.parquet") == rows


@pytest.mark.parametrize(
    ("value", "kind", "gold"),
    [
        (11, "number", "11"),
        (0.5, "number", "0.5"),
        (1e-7, "number", "0.0000001"),
        ("work #### 1,200", "number", "1200"),
        ([1, "b"], "list", '[1, "b"]'),
        ({"x": 1}, "json", '{"x": 1}'),
        ("(b)", "choice", "B"),
        ("2024-05-01", "date", "2024-05-01"),
        ("Paris", "text", "Paris"),
        (True, "text", "true"),
    ],
)
def test_golds_of_every_type(value: Any, kind: str, gold: str) -> None:
    (problem,) = read_rows([{"question": "q", "answer": value}], "rows")
    assert (problem.kind, problem.gold) == (kind, gold)


def test_columns_are_named_by_the_recipe() -> None:
    rows = [{"problem": "q", "expected": "7", "nr": "x1", "worked": "3 + 4"}]
    names = {"question": "problem", "answer": "expected", "id": "nr", "solution": "worked"}
    (problem,) = read_rows(rows, "rows", Reading(columns=names))
    assert (problem.id, problem.question, problem.gold) == ("x1", "q", "7")
    assert problem.solution == "3 + 4"
    assert problem.columns["expected"] == "7"


def test_a_column_called_solution_is_the_worked_solution() -> None:
    row = {"question": "q", "answer": 7, "solution": "3 + 4 = 7"}
    (problem,) = read_rows([row], "rows")
    assert problem.solution == "3 + 4 = 7"
    (problem,) = read_rows([row | {"answer": "5 + 2 #### 7"}], "rows")
    assert problem.solution == "5 + 2"  # what stands with the answer goes first
    (problem,) = read_rows([row | {"solution": ["a", "b"]}], "rows")
    assert problem.solution == ""
    named = Reading(columns={"answer": "solution"})
    (problem,) = read_rows([{"question": "q", "solution": "7"}], "rows", named)
    assert (problem.gold, problem.solution) == ("7", "")


def test_a_column_that_is_named_and_missing_is_told() -> None:
    with pytest.raises(UserError, match=r"row 1: no column 'nr' for the id \(the row has: quest"):
        read_rows([{"question": "q", "answer": "1"}], "rows", Reading(columns={"id": "nr"}))


def test_a_template_makes_the_question_of_the_columns() -> None:
    template = "Use {{ nums | join(', ') }} to make {{ target }}."
    rows = [{"nums": [3, 4], "target": 7, "answer": "3 + 4"}]
    (problem,) = read_rows(rows, "rows", Reading("exact", template=template))
    assert problem.question == "Use 3, 4 to make 7."
    with pytest.raises(UserError, match=r"rows, row 1: data\.template: 'nums' is undefined"):
        read_rows([{"target": 7, "answer": "7"}], "rows", Reading("exact", template=template))
    with pytest.raises(UserError, match=r"data\.template: line 1: "):
        load_recipe(ROOT / "recipes/tiny.yaml", ["data.template='{{ x'"])


def test_a_prompt_is_text_or_chat_messages() -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    (chat,) = read_rows([{"prompt": messages, "answer": "1"}], "rows")
    assert prompt_for(chat, "Think.") == messages
    assert chat.question == "u"
    (text,) = read_rows([{"prompt": "Q: u\nA:", "answer": "1"}], "rows")
    assert prompt_for(text, "Think.") == "Q: u\nA:"
    for prompt, told in (
        ([], "is no prompt"),
        ([{"role": "human", "content": "u"}], "has no role"),
        ([{"role": "assistant", "content": "u"}], "must be the user's"),
        ([{"role": "user", "content": ""}], "no text in column 'content'"),
    ):
        with pytest.raises(UserError, match=told):
            read_rows([{"prompt": prompt, "answer": "1"}], "rows")
    with pytest.raises(UserError, match="all prompts as text, or all as chat messages"):
        read_rows([{"prompt": "t", "answer": "1"}, {"prompt": messages, "answer": "1"}], "rows")


def test_one_file_is_split_by_the_questions(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    rows = [f"What is {n} + {n}?,{2 * n}\nWHAT IS {n} + {n},{2 * n}" for n in range(60)]
    file.write_text("question,answer\n" + "\n".join(rows) + "\n")
    source = OneFile(str(file))
    splits = {split: source.load(split) for split in ("train", "dev", "test")}
    assert sum(map(len, splits.values())) == 120
    asked = {name: {plain_words(p.question) for p in found} for name, found in splits.items()}
    assert not asked["test"] & (asked["train"] | asked["dev"])
    assert 5 <= len(asked["test"]) <= 20


def test_one_file_has_a_dev_split_whatever_its_questions_are(tmp_path: Path) -> None:
    file = tmp_path / "sums.csv"
    file.write_text("question,answer\n" + "".join(f"{n} + 1,{n + 1}\n" for n in range(300)))
    source = OneFile(str(file))
    sizes = {split: len(source.load(split)) for split in ("train", "dev", "test")}
    assert sum(sizes.values()) == 300
    assert sizes["dev"] >= 5


def test_messages_before_the_last_belong_to_the_question() -> None:
    def row(passage: str) -> dict[str, Any]:
        system = {"role": "system", "content": passage}
        return {"prompt": [system, {"role": "user", "content": "Which is it?"}], "answer": "1"}

    one, other = read_rows([row("Passage 1"), row("Passage 2")], "rows")
    assert check_rows([one, other], accept=()) == []
    assert digest([one])["sha256"] != digest([replace(other, id=one.id)])["sha256"]


def test_right_answers_that_are_equal_are_no_contradiction() -> None:
    rows = read_rows(
        [{"question": "q", "answer": "Paris"}, {"question": "q?", "answer": "paris."}], "rows"
    )
    assert "training rows ask what an earlier one asks" in check_rows(rows, accept=())[0]


def test_two_files_of_one_split_are_refused(tmp_path: Path) -> None:
    write_rows(tmp_path, ROWS)
    (tmp_path / "train.csv").write_text("question,answer\nq,1\n")
    with pytest.raises(UserError, match=r"has train\.jsonl and train\.csv; keep one of them"):
        Stored(str(tmp_path)).load("train")


def problem(name: str, question: str, gold: str = "1") -> Problem:
    return Problem(name, question, gold)


def test_rows_that_ask_the_same_are_told_with_their_ids() -> None:
    rows = [problem("1", "What is it?"), problem("2", "what  is it"), problem("3", "Else?")]
    (told,) = check_rows(rows, accept=())
    assert told == "1 training rows ask what an earlier one asks: rows 2 (as 1)"
    rows.append(problem("4", "ELSE", gold="2"))
    with pytest.raises(UserError, match=r"another right answer: rows 4 \(as 3\)"):
        check_rows(rows, accept=())
    assert len(check_rows(rows, accept=("contradictions",))) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f'(2)", "f''(2)"),
        ("5 - 3", "5 + 3"),
        ("1.5 km", "15 km"),
        ("5!", "5"),
        ("3:4", "34"),
        ("(2+3)*4", "2+3*4"),
    ],
)
def test_what_mathematics_tells_apart_is_not_the_same(one: str, other: str) -> None:
    assert plain_words(one) != plain_words(other)


def test_a_test_problem_that_differs_by_case_and_spaces_is_a_leak() -> None:
    train, asked = [problem("7", "How many apples?")], [problem("1", "how many  APPLES")]
    with pytest.raises(UserError, match=r"1 problems of test are in the training data"):
        check_unseen(by_words(train), asked, "test", accept=())


@pytest.mark.skipif(not GSM8K.is_dir(), reason="GSM8K's files are not in ../shared/data/gsm8k")
def test_gsm8k_has_no_contradiction_and_no_leak() -> None:
    source = Stored(str(GSM8K))
    train = source.load("train")
    check_rows(train, accept=())
    assert check_unseen(by_words(train), source.load("test"), "gsm8k", accept=()) == []
