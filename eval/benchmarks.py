"""The benchmarks, and answers as lm-evaluation-harness's gsm8k task reads them."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onecard.samples import load_samples
from onecard.types import Sample

if TYPE_CHECKING:
    from onecard.recipe import Data


@dataclass(frozen=True)
class Benchmark:
    """A split of the recipe's data set. `problems`: how many the synthetic set makes of it."""

    split: str
    problems: int
    about: str


BENCHMARKS = {
    "tiny": Benchmark("test", 512, "synthetic word problems, unseen"),
    "tiny-dev": Benchmark("dev", 512, "synthetic word problems to choose settings on; never reported as a result"),
    "tiny-shifted": Benchmark("shifted", 512, "synthetic word problems with unseen names and objects and values to 30"),
    "gsm8k": Benchmark("test", 1319, "GSM8K's test split"),
}


def load_benchmark(name: str, data: "Data", limit: int | None) -> list[Sample]:
    """The benchmark's first `limit` problems (None: all)."""
    benchmark = BENCHMARKS[name]
    source = data.model_copy(update={"path": "tiny"}) if name.startswith("tiny") else data
    return load_samples(source, benchmark.split, benchmark.problems)[:limit]


# lm-evaluation-harness, lm_eval/tasks/gsm8k/gsm8k.yaml: filter_list and regexes_to_ignore
STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
IGNORED = [re.compile(pattern) for pattern in (",", r"\$", r"(?s).*#### ", r"\.$")]


def strict(completion: str) -> str:
    """The first `#### number`, as the harness's strict-match filter extracts it, or "[invalid]"."""
    found = STRICT.findall(completion)
    return found[0] if found else "[invalid]"


def flexible(completion: str) -> str:
    """The last number-like text, as the harness's flexible-extract filter takes it, or "[invalid]"."""
    found = FLEXIBLE.findall(completion)
    return next(filter(None, found[-1])) if found else "[invalid]"


def same_answer(extracted: str, gold: str) -> bool:
    """The harness's exact_match: equal once commas, dollar signs, all up to `#### ` and a final period are gone."""
    for pattern in IGNORED:
        extracted, gold = pattern.sub("", extracted), pattern.sub("", gold)
    return extracted.strip().lower() == gold.strip().lower()
