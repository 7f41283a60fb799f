"""The benchmarks, and answers as lm-evaluation-harness's gsm8k task reads them."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onecard.samples import SYNTHETIC, load_samples
from onecard.types import Sample, UserError

if TYPE_CHECKING:
    from onecard.recipe import Data


@dataclass(frozen=True)
class Benchmark:
    """A split of the recipe's data set, and how many problems it has (None: as many as there are)."""

    split: str
    problems: int | None
    about: str


SYNTHETIC_PROBLEMS = 512  # how many the synthetic set makes of each split that is evaluated
BENCHMARKS = {
    "tiny": Benchmark("test", SYNTHETIC_PROBLEMS, "synthetic word problems, unseen"),
    "tiny-dev": Benchmark("dev", SYNTHETIC_PROBLEMS, "synthetic word problems to choose settings on; never reported as a result"),
    "tiny-shifted": Benchmark("shifted", SYNTHETIC_PROBLEMS, "synthetic word problems with unseen names and objects and values to 30"),
    "gsm8k": Benchmark("test", 1319, "problems of GSM8K's test split"),
    "test": Benchmark("test", None, "problems of the data set's test split"),
}


def load_benchmark(name: str, data: "Data", limit: int | None) -> list[Sample]:
    """The benchmark's first `limit` problems (None: all). Raises UserError where the data is not what the name promises."""
    benchmark = BENCHMARKS[name]
    source = data.model_copy(update={"path": SYNTHETIC}) if name.startswith(SYNTHETIC) else data
    samples = load_samples(source, benchmark.split, SYNTHETIC_PROBLEMS)
    if benchmark.problems not in (None, len(samples)):
        raise UserError(
            f"eval.benchmarks: {name} has {benchmark.problems:,} problems, but {source.path} has {len(samples):,}; "
            "the test split of any other data set is the benchmark `test`"
        )
    return samples[:limit]


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
