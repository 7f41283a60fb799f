"""The benchmarks, and answers as lm-evaluation-harness's gsm8k task reads them."""

import re
from dataclasses import dataclass
from pathlib import Path

from eval.published import PUBLISHED, PublishedSource
from onecard.data.gym import Gym
from onecard.data.rows import Reading, read_rows
from onecard.data.section import GymTask
from onecard.data.source import Source
from onecard.data.stored import Stored
from onecard.data.svamp import HUB_ID, Svamp
from onecard.data.synthetic import HELD_OUT_PROBLEMS, SYNTHETIC, Synthetic
from onecard.files.tables import read_table
from onecard.section import did_you_mean
from onecard.types import Problem, UserError

OWN = "recipe"  # the data set of the recipe itself
GSM_SYMBOLIC = "gsm_symbolic"  # a task of reasoning-gym


@dataclass(frozen=True)
class Benchmark:
    """A set of problems.

    `version` goes up whenever a row, a gold or their order would change; results of two versions do
    not compare. `data`: the synthetic set, a known set, or the recipe's own. `problems`: how many
    there must be, where that is known. `sha256`: how the digest of the known rows begins
    (eval/task.py), by which other rows under the same name are found out. `prompt`: the system
    prompt that it is asked with, where no recipe says another.
    """

    version: int
    data: str
    split: str
    problems: int | None
    about: str
    sha256: str = ""
    prompt: str | None = None


BENCHMARKS = {
    "tiny": Benchmark(
        1,
        SYNTHETIC,
        "test",
        HELD_OUT_PROBLEMS,
        "synthetic word problems, unseen",
        sha256="731ce727f256",
    ),
    "tiny-dev": Benchmark(
        1,
        SYNTHETIC,
        "dev",
        HELD_OUT_PROBLEMS,
        "synthetic word problems to choose settings on; never reported as a result",
        sha256="a0906d01d33f",
    ),
    "tiny-shifted": Benchmark(
        1,
        SYNTHETIC,
        "shifted",
        HELD_OUT_PROBLEMS,
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
    "gsm_symbolic": Benchmark(
        1,
        GSM_SYMBOLIC,
        "test",
        512,
        "problems of reasoning-gym's own rewrite of GSM-Symbolic: GSM8K's with other names and"
        " numbers; not to be compared with published figures",
        sha256="c80822f5fbf2",
    ),
    **{
        name: Benchmark(1, name, "test", known.problems, known.about, prompt=known.prompt)
        for name, known in PUBLISHED.items()
    },
    "test": Benchmark(1, OWN, "test", None, "problems of the test split of the recipe's data set"),
    "dev": Benchmark(1, OWN, "dev", None, "problems of the dev split of the recipe's data set"),
}
FOLDERS = (Path("data"), Path("../shared/data"))  # where known sets are looked for


def known_benchmark(name: str) -> str:
    """The name as it is. Raises ValueError, with the nearest benchmark's, where it is none."""
    if name not in BENCHMARKS and not name.endswith(".jsonl"):
        nearest = did_you_mean(name, BENCHMARKS)
        raise ValueError(
            f"no such name {name!r}{nearest}; there are: {', '.join(BENCHMARKS)}, or a file of"
            " rows, PATH.jsonl"
        )
    return name


def load_benchmark(name: str, own: Source | None, root: Path | None = None) -> list[Problem]:
    """The problems of a benchmark, or of a file NAME.jsonl of {question, answer} rows.

    `own` is the recipe's data set, whose kind of golds such a file has too. `root` is the
    folder that holds the known sets (None: looked for).
    Raises UserError where the data is not what the name promises.
    """
    if name.endswith(".jsonl"):
        return read_rows(read_table(Path(name)), name, Reading(own.kind if own else None))
    benchmark = BENCHMARKS[name]
    if benchmark.data == OWN and own is None:
        raise UserError(
            f"benchmark {name}: it is a split of a recipe's data set; name the recipe with --recipe"
        )
    source = find_source(benchmark.data, own, root)
    problems = source.load(benchmark.split)
    if benchmark.problems not in (None, len(problems)):
        raise UserError(
            f"benchmark {name}: it has {benchmark.problems:,} problems, but {source.path} gives"
            f" {len(problems):,}; the test split of a data set of your own is the benchmark `test`"
        )
    return problems


def find_source(data: str, own: Source | None, root: Path | None) -> Source:
    """What a benchmark's problems come from: `data` is a name that stands in BENCHMARKS."""
    if data == OWN and own is not None:
        return own
    if data == SYNTHETIC:
        return Synthetic()
    if data == GSM_SYMBOLIC:
        return Gym((GymTask(task=GSM_SYMBOLIC),), reading=Reading("number"))
    if data in PUBLISHED:
        folder = str(find_folder(PUBLISHED[data].folder or data, own, root))
        return PublishedSource(data, folder, on_hub=root is None)
    folder = str(find_folder(data, own, root))
    if data == "svamp":
        return Svamp(folder) if root else Svamp(folder, HUB_ID)
    # Without the hub where `root` is given: somebody who names a folder means that folder.
    numbers = Reading("number")
    if root:
        return Stored(folder, reading=numbers)
    return Stored(folder, numbers, hub_id="openai/gsm8k", hub_config="main")


def find_folder(name: str, own: Source | None, root: Path | None) -> Path:
    """Where a known set is on this disk, or would be; in `root`, where that is given."""
    if root is not None:
        if not (root / name).is_dir():
            raise UserError(f"--data {root}: there is no folder {name}/ in it")
        return root / name
    beside = [own.folder.parent] if own is not None and own.folder is not None else []
    for place in (*beside, *FOLDERS):
        if (place / name).is_dir():
            return place / name
    return FOLDERS[0] / name


def load_exemplars(
    name: str, own: Source | None, shots: int, root: Path | None = None
) -> list[Problem]:
    """The solved problems shown before a benchmark's.

    They are the first training rows of its set, or GSM8K's where it has none.
    """
    if not shots:
        return []
    data = BENCHMARKS[name].data if name in BENCHMARKS else "gsm8k"
    if data in ("svamp", GSM_SYMBOLIC, *PUBLISHED) or (data == OWN and own is None):
        data = "gsm8k"
    problems = find_source(data, own, root).load("train")
    if len(problems) < shots:
        raise UserError(f"--shots {shots}: {name} has only {len(problems)} training rows to show")
    return problems[:shots]


# lm-evaluation-harness, lm_eval/tasks/gsm8k/gsm8k.yaml: filter_list and regexes_to_ignore
STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
IGNORED = [re.compile(pattern) for pattern in (",", r"\$", r"(?s).*#### ", r"\.$")]


def strict(completion: str) -> str:
    """The first `#### number`, as the harness's strict-match filter extracts it, or "[invalid]"."""
    found = STRICT.findall(completion)
    return found[0] if found else "[invalid]"


def flexible(completion: str) -> str:
    """The last text like a number, as the harness's flexible-extract filter takes it.

    "[invalid]" where there is none.
    """
    found = FLEXIBLE.findall(completion)
    return next(filter(None, found[-1])) if found else "[invalid]"


def same_answer(extracted: str, gold: str) -> bool:
    """The harness's exact_match.

    Two texts are equal once commas, dollar signs, all up to `#### ` and a final period are gone.
    """
    for pattern in IGNORED:
        extracted, gold = pattern.sub("", extracted), pattern.sub("", gold)
    return extracted.strip().lower() == gold.strip().lower()
