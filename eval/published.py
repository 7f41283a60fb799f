"""Published benchmarks: where each is, how its rows are read, and how it is usually asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onecard.data.rows import Reading, read_rows
from onecard.data.stored import Stored
from onecard.types import Problem
from rewards.answer.section import AnswerKind

Row = Mapping[str, Any]
# How Qwen2.5-Math and DeepSeek-R1 ask, and the papers that report with them.
BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
CHOICES = (
    "{{ question }}\n{% for option in options %}\n{{ 'ABCDEFGHIJ'[loop.index0] }}. {{ option }}"
    "{% endfor %}"
)
LETTER = "Please reason step by step, and put the letter of your choice within \\boxed{}."
DOUBT = (
    "Please reason step by step. If the problem lacks a fact that its answer needs, your answer is"
    " None. Put your final answer within \\boxed{}."
)

NUMBERS = Reading("number")


def every_row(row: Row) -> bool:
    return True


def lacks_a_fact(row: Row) -> bool:
    return bool(row.get("perturbation_type") == "critical thinking")


def has_all_facts(row: Row) -> bool:
    return not lacks_a_fact(row)


def is_mathematics(row: Row) -> bool:
    return bool(row.get("category") == "math")


@dataclass(frozen=True)
class Published:
    """A benchmark as its authors published it.

    `split` is the hub's name of the rows. `folder`: where it is on a disk, as test.jsonl (or .csv,
    .json, .parquet) with the same columns. `keep` chooses rows. `problems`: how many there are.
    `prompt` is the system prompt that it is asked with, where no recipe says another.
    """

    hub_id: str
    problems: int
    about: str
    prompt: str
    hub_config: str | None = None
    split: str = "test"
    folder: str = ""
    reading: Reading = NUMBERS
    keep: Callable[[Row], bool] = every_row


PUBLISHED = {
    "gsm8k-platinum": Published(
        "madrylab/gsm8k-platinum",
        1209,
        "GSM8K's test split, its wrong and ambiguous problems mended or left out",
        BOXED,
        hub_config="main",
    ),
    "gsm-plus": Published(
        "qintongli/GSM-Plus",
        9233,
        "GSM8K's test problems changed in seven ways",
        BOXED,
        reading=Reading("expression"),
        keep=has_all_facts,
    ),
    "gsm-plus-doubt": Published(
        "qintongli/GSM-Plus",
        1319,
        "GSM8K's test problems without a fact that is needed: does the model see it?",
        DOUBT,
        folder="gsm-plus",
        reading=Reading("unanswerable"),
        keep=lacks_a_fact,
    ),
    "math-500": Published(
        "HuggingFaceH4/MATH-500",
        500,
        "500 problems of MATH's test split",
        BOXED,
        reading=Reading("expression", {"question": "problem", "id": "unique_id"}),
    ),
    "aime-2024": Published(
        "HuggingFaceH4/aime_2024",
        30,
        "the American Invitational Mathematics Examination of 2024",
        BOXED,
        split="train",
        reading=Reading("number", {"question": "problem"}),
    ),
    "aime-2025": Published(
        "math-ai/aime25",
        30,
        "the American Invitational Mathematics Examination of 2025",
        BOXED,
        reading=Reading("number", {"question": "problem"}),
    ),
    "mmlu-pro-math": Published(
        "TIGER-Lab/MMLU-Pro",
        1351,
        "MMLU-Pro's mathematics, with up to ten choices",
        LETTER,
        reading=Reading("choice", {"id": "question_id"}, template=CHOICES),
        keep=is_mathematics,
    ),
}


@dataclass(frozen=True)
class PublishedSource:
    """A published benchmark as a data set. It has one split, whatever it is called."""

    name: str
    path: str
    on_hub: bool = True
    dev_benchmark: str = ""
    train_problems: int | None = None

    @property
    def known(self) -> Published:
        return PUBLISHED[self.name]

    @property
    def folder(self) -> Path:
        return Path(self.path)

    @property
    def kind(self) -> AnswerKind | None:
        return self.known.reading.kind

    def load(self, split: str) -> list[Problem]:
        """Its problems. Raises UserError where they are neither on this disk nor on the hub."""
        known = self.known
        hub_id = known.hub_id if self.on_hub else None
        stored = Stored(self.path, hub_id=hub_id, hub_config=known.hub_config)
        rows, where = stored.rows("test", hub_split=known.split)
        return read_rows(filter(known.keep, rows), where, known.reading)
