"""Data sets -> list[Sample]. Every row is read or named in an error: none is dropped here."""

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onecard.data.prompts import prompt_for, render, tokenize
from onecard.data.tiny_problems import build_problems
from onecard.files import hub
from onecard.files.formats import read_jsonl
from onecard.types import Sample, UserError
from rewards.answer import CALCULATOR

if TYPE_CHECKING:
    from onecard.recipe import Recipe

SYNTHETIC = "tiny"
LONGEST_TEXT = (
    100_000  # characters of a question or an answer; GSM8K's longest have about a thousand
)
DEV_PART = 15  # one training row in this many is carved off as the dev split
GOLD = re.compile(r"-?([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]+)?")


@dataclass(frozen=True)
class Source:
    """Where a data set is: a folder of JSON lines, or `tiny`, the synthetic set; else, where there
    is no such folder, on the hub.
    """

    path: str
    hub_id: str | None = None
    hub_config: str | None = None


def load_samples(source: Source, split: str, count: int = 0) -> list[Sample]:
    """The `split` (train, dev, test; of the synthetic set also shifted) of a data set, in its own
    order.

    A real data set without a dev.jsonl has its dev split carved from train.jsonl, so that the two
    share no row and nobody needs to choose anything on the test split. `count` is how many
    synthetic problems to make; a real split is read whole. Raises UserError naming the file and the
    row when one cannot be used.
    """
    if source.path == SYNTHETIC:
        return read_rows(build_problems(split, count), f"{SYNTHETIC} {split}")
    folder = Path(source.path)
    carved = split in ("train", "dev") and not (folder / "dev.jsonl").is_file()
    stored = "train" if carved else split
    if folder.is_dir():
        file = folder / f"{stored}.jsonl"
        if not file.is_file():
            raise UserError(
                f"data.path: no file {file}; the folder must hold train.jsonl and test.jsonl"
            )
        samples = read_rows(read_jsonl(file), str(file))
    elif folder.is_file():
        raise UserError(
            f"data.path: {source.path!r} is a file; give the folder that holds train.jsonl and"
            " test.jsonl"
        )
    elif source.hub_id is None:
        raise UserError(
            f"data.path: no folder {source.path!r}; give a folder with train.jsonl and test.jsonl,"
            " or set data.hub_id"
        )
    else:
        samples = read_rows(
            hub.load_rows(source.hub_id, source.hub_config, stored), f"{source.hub_id} {stored}"
        )
    if not carved:
        return samples
    kept = [sample for sample in samples if in_dev(sample) == (split == "dev")]
    if not kept:
        raise UserError(
            f"{source.path}: {len(samples)} training rows are too few to carve a dev split from;"
            " add a dev.jsonl"
        )
    return kept


def in_dev(sample: Sample) -> bool:
    """Whether a training row belongs to the dev split that is carved from it: by its question,
    whatever else the file holds.
    """
    return zlib.crc32(sample.question.encode("utf-8", "surrogatepass")) % DEV_PART == 0


def read_rows(rows: Iterable[Any], source: str) -> list[Sample]:
    """{question, answer} rows as samples; an answer is "working #### gold", as GSM8K has it, or the
    bare number.

    A sample is known by its row's `id`, if it has one, else by the row's number. Raises UserError
    with the row's number.
    """
    samples: list[Sample] = []
    first: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        sample = read_row(row, f"{source}, row {number}", number)
        if first.setdefault(sample.id, number) != number:
            raise UserError(
                f"{source}, row {number}: the id {sample.id!r} stands in row {first[sample.id]}"
                " already; give each row its own"
            )
        samples.append(sample)
    if not samples:
        raise UserError(f"{source}: no rows; at least one {{question, answer}} row is needed")
    return samples


def read_row(row: Any, where: str, number: int) -> Sample:
    for column in ("question", "answer"):
        if (
            not isinstance(row, dict)
            or not isinstance(row.get(column), str)
            or not row[column].strip()
        ):
            found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise UserError(
                f"{where}: no text in column {column!r} (the row has: {found}); wanted question and"
                " answer"
            )
        if any("\ud800" <= character <= "\udfff" for character in row[column]):
            raise UserError(
                f"{where}: half of a surrogate pair in column {column!r}; such text cannot be"
                " written as UTF-8"
            )
        if len(row[column]) > LONGEST_TEXT:
            length = len(row[column])
            raise UserError(
                f"{where}: {length:,} characters in column {column!r}, and {LONGEST_TEXT:,} are"
                " taken; is it one problem?"
            )
    if not isinstance(row.get("id", ""), str | int):
        raise UserError(f"{where}: the id must be text or a whole number, got {row['id']!r}")
    solution, _, gold = row["answer"].rpartition("####")
    if not GOLD.fullmatch(gold.strip()):
        raise UserError(
            f"{where}: the answer must be a number or end in '#### NUMBER', got"
            f" {row['answer'][-40:]!r}"
        )
    return Sample(
        str(row.get("id", number)),
        row["question"],
        gold.strip().replace(",", ""),
        CALCULATOR.sub("", solution).strip(),
    )


def drop_long_prompts(samples: Sequence[Sample], recipe: "Recipe", tokenizer: Any) -> list[Sample]:
    """The samples whose rendered prompt has at most data.max_prompt_length tokens: TRL itself never
    shortens a prompt.
    """
    ids = tokenize(
        tokenizer,
        [render(tokenizer, prompt_for(sample, recipe.data.system_prompt)) for sample in samples],
    )
    usable = [
        s
        for s, tokens in zip(samples, ids, strict=True)
        if len(tokens) <= recipe.data.max_prompt_length
    ]
    if len(usable) < recipe.grpo.prompts_per_step:
        raise UserError(
            f"data.max_prompt_length {recipe.data.max_prompt_length}: {len(usable)} of"
            f" {len(samples)} training prompts are that short, but one step needs"
            f" {recipe.grpo.prompts_per_step}; the longest has {max(map(len, ids))} tokens"
        )
    return usable
