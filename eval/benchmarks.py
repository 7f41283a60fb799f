"""The benchmarks, and answers as lm-evaluation-harness's gsm8k task reads them."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onecard.data.samples import SYNTHETIC, Source, load_samples, read_rows
from onecard.files.formats import read_jsonl
from onecard.types import Sample, UserError


@dataclass(frozen=True)
class Benchmark:
    """A set of problems. `version` goes up whenever a row, a gold or their order would change;
    results of two do not compare.

    `data`: the synthetic set, a known set (SETS), or the recipe's own. `problems`: how many there
    must be, where that is known; `sha256`: how the digest of the known rows begins (eval/task.py),
    by which other rows under the same name are found out.
    """

    version: int
    data: str
    split: str
    problems: int | None
    about: str
    sha256: str = ""


BENCHMARKS = {
    "tiny": Benchmark(
        1, SYNTHETIC, "test", 512, "synthetic word problems, unseen", sha256="731ce727f256"
    ),
    "tiny-dev": Benchmark(
        1,
        SYNTHETIC,
        "dev",
        512,
        "synthetic word problems to choose settings on; never reported as a result",
        sha256="a0906d01d33f",
    ),
    "tiny-shifted": Benchmark(
        1,
        SYNTHETIC,
        "shifted",
        512,
        "synthetic word problems with unseen names and objects and values to 30",
        sha256="24615595d6bc",
    ),
    "gsm8k": Benchmark(
        1, "gsm8k", "test", 1319, "problems of GSM8K's test split", sha256="c0dbfaecb8f6"
    ),
    "gsm8k-dev": Benchmark(
        1,
        "gsm8k",
        "dev",
        494,
        "problems carved from GSM8K's train split by a hash, and never trained on",
        sha256="13ae010e9b2a",
    ),
    "svamp": Benchmark(
        1,
        "svamp",
        "all",
        1000,
        "problems of SVAMP, word problems of another kind",
        sha256="aa4d70f3a83f",
    ),
    "test": Benchmark(
        1, "recipe", "test", None, "problems of the test split of the recipe's data set"
    ),
    "dev": Benchmark(
        1, "recipe", "dev", None, "problems of the dev split of the recipe's data set"
    ),
}
# Where a known set is: the folder of its name in the recipe's data.path's parent, data/ or
# ../shared/data/; else on the hub.
SETS = {"gsm8k": ("openai/gsm8k", "main"), "svamp": ("ChilleD/SVAMP", None)}
FOLDERS = (Path("data"), Path("../shared/data"))


def load_benchmark(name: str, own: Source | None, root: Path | None = None) -> list[Sample]:
    """The problems of a benchmark, or of a file NAME.jsonl of {question, answer} rows.

    `own` is the recipe's data set, `root` the folder that holds the known sets (None: looked for).
    Raises UserError where the data is not what the name promises.
    """
    if name.endswith(".jsonl"):
        return read_rows(read_jsonl(Path(name)), name)
    benchmark = BENCHMARKS[name]
    if benchmark.data == "recipe":
        if own is None:
            raise UserError(
                f"benchmark {name}: it is a split of a recipe's data set; name the recipe with"
                " --recipe"
            )
        return load_samples(own, benchmark.split, BENCHMARKS[SYNTHETIC].problems or 0)
    source = (
        Source(SYNTHETIC) if benchmark.data == SYNTHETIC else find_set(benchmark.data, own, root)
    )
    samples = (
        load_svamp(source)
        if benchmark.data == "svamp"
        else load_samples(source, benchmark.split, benchmark.problems or 0)
    )
    if benchmark.problems != len(samples):
        raise UserError(
            f"benchmark {name}: it has {benchmark.problems:,} problems, but {source.path} gives"
            f" {len(samples):,}; the test split of a data set of your own is the benchmark `test`"
        )
    return samples


def find_set(name: str, own: Source | None, root: Path | None) -> Source:
    """A known set on this disk, or else, unless `root` says where it is, on the hub."""
    if root is not None:
        if not (root / name).is_dir():
            raise UserError(f"--data {root}: there is no folder {name}/ in it")
        return Source(str(root / name))
    beside = [Path(own.path).parent] if own is not None and own.path != SYNTHETIC else []
    folder = next(
        (root / name for root in (*beside, *FOLDERS) if (root / name).is_dir()), FOLDERS[0] / name
    )
    return Source(str(folder), *SETS[name])


def load_exemplars(
    name: str, own: Source | None, shots: int, root: Path | None = None
) -> list[Sample]:
    """The solved problems shown before a benchmark's: the first training rows of its set, or
    GSM8K's where it has none.
    """
    data = BENCHMARKS[name].data if name in BENCHMARKS else "gsm8k"
    if not shots:
        return []
    if data == SYNTHETIC or (data == "recipe" and own is not None and own.path == SYNTHETIC):
        return load_samples(Source(SYNTHETIC), "train", shots)
    samples = load_samples(
        own if data == "recipe" and own is not None else find_set("gsm8k", own, root), "train"
    )
    if len(samples) < shots:
        raise UserError(f"--shots {shots}: {name} has only {len(samples)} training rows to show")
    return samples[:shots]


def load_svamp(source: Source) -> list[Sample]:
    """SVAMP's rows: its one file of 1,000, or the hub's two splits of them together, in the order
    of their numbers.

    Body and question are joined by a space, as Kojima et al. 2022 (Large Language Models are
    Zero-Shot Reasoners) do.
    """
    file = Path(source.path) / "SVAMP.json"
    if file.is_file():
        try:
            rows: list[Any] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{file}: not JSON: {error}") from None
    else:
        from onecard.files.hub import load_rows

        rows = [
            row for split in ("train", "test") for row in load_rows(str(source.hub_id), None, split)
        ]
    try:
        rows.sort(key=lambda row: int(row["ID"].removeprefix("chal-")))
        pairs = [
            (
                f"{row['Body'].strip()} {row['Question'].strip()}",
                f"{float(row['Answer']):.6f}".rstrip("0").rstrip("."),
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{source.path}: not SVAMP's rows (ID chal-N, Body, Question, Answer): {error!r}"
        ) from None
    return read_rows(
        ({"question": question, "answer": answer} for question, answer in pairs), source.path
    )


# lm-evaluation-harness, lm_eval/tasks/gsm8k/gsm8k.yaml: filter_list and regexes_to_ignore
STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
IGNORED = [re.compile(pattern) for pattern in (",", r"\$", r"(?s).*#### ", r"\.$")]


def strict(completion: str) -> str:
    """The first `#### number`, as the harness's strict-match filter extracts it, or "[invalid]"."""
    found = STRICT.findall(completion)
    return found[0] if found else "[invalid]"


def flexible(completion: str) -> str:
    """The last number-like text, as the harness's flexible-extract filter takes it, or
    "[invalid]".
    """
    found = FLEXIBLE.findall(completion)
    return next(filter(None, found[-1])) if found else "[invalid]"


def same_answer(extracted: str, gold: str) -> bool:
    """The harness's exact_match: equal once commas, dollar signs, all up to `#### ` and a final
    period are gone.
    """
    for pattern in IGNORED:
        extracted, gold = pattern.sub("", extracted), pattern.sub("", gold)
    return extracted.strip().lower() == gold.strip().lower()
