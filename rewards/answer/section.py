"""The recipe's `answer:`: how a right answer is written, declared once for all that read one."""

from typing import Literal

from onecard.section import Section

AnswerFormat = Literal["auto", "answer", "hash", "boxed"]
AnswerKind = Literal[
    "number",
    "expression",
    "choice",
    "text",
    "exact",
    "list",
    "set",
    "json",
    "date",
    "gym",
    "code",
    "unanswerable",
    "none",
]


class Answer(Section):
    """`format`: the marker around the answer. `kind`: what the rows' gold answers are.

    Formats: `answer` is <answer>18</answer>, `hash` is "#### 18", `boxed` is \\boxed{18}. `auto`
    reads the first of these that a completion has; SFT then writes <answer> tags.

    Kinds (rewards/answer/kinds/ has a file for each): `number` is one decimal number, compared
    exactly. `expression` is any mathematics that LaTeX writes, compared by math-verify. `choice` is
    a letter. `text` is words, compared without case, punctuation and articles; `exact` is compared
    as it stands. `list` and `set` have items, in order or not. `json` is compared after parsing.
    `date` is a date, a time, or both. `gym` is what a task of reasoning-gym says of it. `code` is
    Python that passes the tests which the rows have for golds.
    `unanswerable`: the problem lacks a fact, and the answer has to say so. `none`: the rows have no
    right answer. Left out, the kind is seen from the golds, and told; with data.gym it
    is `gym`.
    """

    format: AnswerFormat = "auto"
    kind: AnswerKind | None = None
