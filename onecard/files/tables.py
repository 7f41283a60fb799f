"""Files of rows: JSON lines, JSON, CSV and Parquet. Every value stays as it was written.

pandas and Arrow would turn "2024-05-01" into a date, 007 into 7 and NA into nothing. So JSON is
read by json, and what stands in a CSV file is text.
"""

import csv
import io
import json
from pathlib import Path
from typing import Any

from onecard.files.encoding import read_text
from onecard.files.formats import read_jsonl
from onecard.types import UserError

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
SEPARATORS = {".tsv": "\t"}


def read_table(file: Path) -> list[Any]:
    """The rows of a file, by its ending. Raises UserError with the line of what is broken."""
    suffix = file.suffix.casefold()
    if suffix == ".json":
        return read_json(file)
    if suffix in (".csv", ".tsv"):
        return read_csv(file, SEPARATORS.get(suffix))
    if suffix == ".parquet":
        return read_parquet(file)
    if suffix != ".jsonl":
        raise UserError(f"{file}: no file of rows; wanted one that ends in {', '.join(SUFFIXES)}")
    return read_jsonl(file)


def read_json(file: Path) -> list[Any]:
    """A JSON list of objects."""
    text = read_text(file)
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not JSON: {error}; JSON lines end in .jsonl") from None
    if not isinstance(rows, list):
        raise UserError(f"{file}: wanted a list of rows, [{{...}}, ...], got one object")
    return rows


def read_csv(file: Path, separator: str | None) -> list[Any]:
    """Rows under a line of column names. The separator is the one that the first line has most."""
    text = read_text(file)
    head = text.partition("\n")[0]
    separator = separator or max(",;\t", key=head.count)
    csv.field_size_limit(2**24)  # characters; what is too long for a question is told by its row
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[Any] = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise UserError(
                    f"{file}, line {reader.line_num}: {'more' if None in row else 'fewer'} values"
                    f" than the {len(reader.fieldnames or [])} columns of the first line; a value"
                    f" with {separator!r} in it stands in quotes"
                )
            rows.append(row)
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: not CSV: {error}") from None
    return rows


def read_parquet(file: Path) -> list[Any]:
    import pyarrow.parquet

    try:
        rows: list[Any] = pyarrow.parquet.read_table(file).to_pylist()
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not Parquet: {error}") from None
    return rows
