"""Data sets -> list[Sample]. Every row is read or named in an error: none is dropped here."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onecard import hub
from onecard.tiny_problems import build_problems
from onecard.types import Sample, UserError
from rewards.answer import CALCULATOR, marked

if TYPE_CHECKING:
    from onecard.recipe import Data, Recipe

SYNTHETIC = "tiny"
GOLD = re.compile(r"-?([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]+)?")


def load_samples(data: "Data", split: str, count: int) -> list[Sample]:
    """The `split` (train, test; of the synthetic set also dev and shifted) of the recipe's data set, in its own order.

    `count` is how many synthetic problems to make; a real data set is always read whole.
    Raises UserError naming the file and the row when one cannot be used.
    """
    if data.path == SYNTHETIC:
        return read_rows(build_problems(split, count), f"{SYNTHETIC} {split}")
    if Path(data.path).is_dir():
        file = Path(data.path) / f"{split}.jsonl"
        return read_rows(read_jsonl(file), str(file))
    if data.hub_id is None:
        raise UserError(f"data.path: no folder {data.path!r}; give a folder with train.jsonl and test.jsonl, or set data.hub_id")
    return load_hub(data.hub_id, data.hub_config, split)


def load_hub(hub_id: str, config: str | None, split: str) -> list[Sample]:
    """A split of a data set on the Hugging Face hub, or in a folder laid out like one."""
    hub.check_available(hub_id, "dataset", key="data.hub_id")
    import datasets

    return read_rows(datasets.load_dataset(hub_id, config, split=split), f"{hub_id} {split}")


def read_jsonl(file: Path) -> list[Any]:
    """The rows of a JSON-lines file. Lines end at \\n alone: U+2028 may stand inside a question."""
    if not file.is_file():
        raise UserError(f"data.path: no file {file}; the folder must hold train.jsonl and test.jsonl")
    rows = []
    for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:  # broken JSON, or bytes that are not UTF-8
                raise UserError(f"{file}, line {number}: not JSON: {error}") from None
    return rows


def read_rows(rows: Iterable[Any], source: str) -> list[Sample]:
    """GSM8K-format rows, {question, answer: "working #### gold"}, as samples. Raises UserError with the row's number."""
    samples = [read_row(row, f"{source}, row {number}", number) for number, row in enumerate(rows, start=1)]
    if not samples:
        raise UserError(f"{source}: no rows; at least one {{question, answer}} row is needed")
    return samples


def read_row(row: Any, where: str, number: int) -> Sample:
    for column in ("question", "answer"):
        if not isinstance(row, dict) or not isinstance(row.get(column), str) or not row[column].strip():
            found = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise UserError(f"{where}: no text in column {column!r} (the row has: {found}); wanted question and answer")
    solution, marker, gold = row["answer"].rpartition("####")
    gold = gold.strip()
    if not marker or not GOLD.fullmatch(gold):
        raise UserError(f"{where}: the answer must end in '#### NUMBER', got {row['answer'][-40:]!r}")
    return Sample(str(number), row["question"], gold.replace(",", ""), CALCULATOR.sub("", solution).strip())


def prompt_for(sample: Sample, data: "Data") -> list[dict[str, str]]:
    """The chat messages that a problem is put with, in training and in evaluation alike."""
    system = [{"role": "system", "content": data.system_prompt}] if data.system_prompt else []
    return [*system, {"role": "user", "content": sample.question}]


def target_for(sample: Sample, recipe: "Recipe") -> list[dict[str, str]]:
    """The warm-up's completion: the sample's solution in the think block, then its gold, marked as the recipe's rewards read it."""
    text = f"<think>{sample.solution}</think>{marked(sample.gold, recipe.answer_format)}"
    return [{"role": "assistant", "content": text}]


def fitting(samples: list[Sample], recipe: "Recipe", tokenizer: Any) -> list[Sample]:
    """The samples whose rendered prompt has at most data.max_prompt_length tokens: TRL itself never shortens a prompt."""
    prompts = [tokenizer.apply_chat_template(prompt_for(s, recipe.data), tokenize=False, add_generation_prompt=True) for s in samples]
    ids = tokenizer(prompts, add_special_tokens=False, verbose=False)["input_ids"]
    usable = [s for s, tokens in zip(samples, ids, strict=True) if len(tokens) <= recipe.data.max_prompt_length]
    if len(usable) < recipe.grpo.prompts_per_step:
        raise UserError(
            f"data.max_prompt_length {recipe.data.max_prompt_length}: {len(usable)} of {len(samples)} training prompts are "
            f"that short, but one step needs {recipe.grpo.prompts_per_step}; the longest has {max(map(len, ids))} tokens"
        )
    return usable
