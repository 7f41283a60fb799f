"""An evaluation on disk: a folder that can be continued after a kill, compared, and read alone.

settings.json          what was asked of what, written before the first completion
items.partial.jsonl    completions as they are finished, while it runs
items.jsonl            all of them, in the benchmark's order
result.json            settings and scores, written last: a folder that has it is finished
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from onecard.files.differences import differences, listed
from onecard.files.formats import append_jsonl, read_jsonl, whole_lines, write_json, write_jsonl
from onecard.run.process import is_first
from onecard.types import EvalItem, EvalResult, UserError, Verdict

FORMAT = 1  # of result.json and items.jsonl; another number is another meaning


@dataclass(frozen=True)
class Record:
    """An evaluation being made. `items`: what is finished, by its place in the whole."""

    folder: Path
    settings: dict[str, Any]
    items: dict[int, EvalItem] = field(default_factory=dict)

    @property
    def partial(self) -> Path:
        return self.folder / "items.partial.jsonl"

    def add(self, items: dict[int, EvalItem]) -> None:
        """Keep finished items, on the disk before this returns."""
        self.items.update(items)
        if not is_first():
            return
        rows = ({"place": place, **asdict(item)} for place, item in items.items())
        append_jsonl(self.partial, rows)

    @property
    def result(self) -> EvalResult:
        return EvalResult(
            self.settings["benchmark"]["name"],
            tuple(self.items[place] for place in sorted(self.items)),
        )

    def finish(self, facts: dict[str, Any]) -> None:
        """Write items.jsonl, and then result.json with `facts`: from then on it is whole."""
        if not is_first():
            return
        write_jsonl(self.folder / "items.jsonl", map(asdict, self.result.items))
        write_json(self.folder / "result.json", self.settings | facts)
        self.partial.unlink(missing_ok=True)


def open_record(folder: Path, settings: dict[str, Any], again: bool = False) -> Record:
    """The evaluation in `folder`, with what it already has if it was interrupted.

    With `again` it is begun anew.
    Raises UserError where the folder holds another evaluation, or rows that nobody can tell the
    settings of.
    """
    settings = json.loads(json.dumps({"format": FORMAT, **settings}))
    record = Record(folder, settings)
    names = ("settings.json", "items.partial.jsonl", "items.jsonl", "result.json")
    files = [folder / name for name in names]
    if again and is_first():
        for file in reversed(files):  # the settings last: rows without them would be anybody's
            file.unlink(missing_ok=True)
    if not any(file.exists() for file in files):
        if is_first():
            begin(files[0], settings)
        return record
    try:
        stored = json.loads(files[0].read_text(encoding="utf-8"))
        differing = differences(nameless(stored), nameless(settings))
        if files[3].is_file():  # finished: what it says holds, whatever is installed now
            differing = [d for d in differing if not d.is_below("model", "versions")]
        if record.partial.is_file() and not differing:
            read_partial(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder} is damaged: {error!r}. --again replaces it, --out puts this one elsewhere"
        ) from None
    if differing:
        raise UserError(
            f"{folder} holds another evaluation: {listed(differing)}. --again replaces it, --out"
            " puts this one elsewhere"
        )
    return record


def begin(file: Path, settings: dict[str, Any]) -> None:
    """Make the folder of a new evaluation and write its settings.json."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {file.parent}: {error.strerror}") from None
    write_json(file, settings)


def read_partial(record: Record) -> None:
    """Take in the rows that an interrupted evaluation left.

    A last one that was cut off in writing is dropped.
    """
    whole = whole_lines(record.partial)
    for line in whole.splitlines():
        row = json.loads(line)
        place = row.pop("place")
        record.items[place] = read_item(row)
    if is_first():
        record.partial.write_bytes(whole)


def nameless(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without the names of weights whose hash is known.

    The same folder may be spelled in several ways.
    """
    model = {
        key: (
            {"sha256": value["sha256"]}
            if isinstance(value, dict) and value.get("sha256")
            else value
        )
        for key, value in settings["model"].items()
    }
    return settings | {"model": model}


def read_result(folder: Path) -> tuple[dict[str, Any], EvalResult]:
    """A finished evaluation: result.json and its items.

    Raises UserError where there is none that this version can read.
    """
    file = folder / "result.json"
    if not file.is_file():
        unfinished = (folder / "settings.json").is_file()
        why = (
            "is not finished; the command that began it continues it"
            if unfinished
            else "is no evaluation: it has no result.json"
        )
        raise UserError(f"{folder} {why}")
    try:
        facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise UserError(
                f"{file}: format {facts['format']}, and this version reads {FORMAT}; evaluate"
                " again, with `python -m eval ... --again`"
            )
        result = EvalResult(
            facts["benchmark"]["name"], tuple(map(read_item, read_jsonl(folder / "items.jsonl")))
        )
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{folder}: result.json or items.jsonl is damaged: {error!r}") from None
    expected = facts["benchmark"]["count"] * facts["sampling"]["samples"]
    if len(result.items) != expected:
        raise UserError(
            f"{folder}/items.jsonl has {len(result.items)} lines, wanted {expected}; it was cut, or"
            " is of another evaluation"
        )
    order = [(problem[0].id, [item.sample for item in problem]) for problem in result.problems]
    if len(order) != facts["benchmark"]["count"] or any(
        samples != list(range(facts["sampling"]["samples"])) for _, samples in order
    ):
        raise UserError(
            f"{folder}/items.jsonl: its lines are not in the order in which they were written, or"
            " one stands twice"
        )
    return facts, result


def read_item(row: dict[str, Any]) -> EvalItem:
    return EvalItem(**row | {"verdict": Verdict(row["verdict"])})
