"""The recipe's `answer:`: how a right answer is written, declared once for all that read one."""

from typing import Literal

from onecard.section import Section

AnswerFormat = Literal["auto", "answer", "hash", "boxed"]
AnswerKind = Literal["number", "expression"]


class Answer(Section):
    """`format`: the marker around the answer. `kind`: what the rows' gold answers are.

    Formats: `answer` is <answer>18</answer>, `hash` is "#### 18", `boxed` is \\boxed{18}. `auto`
    reads the first of these that a completion has; SFT then writes <answer> tags.

    Kinds: `number` is one decimal number, compared exactly. `expression` is any mathematics that
    LaTeX writes, compared by math-verify.
    """

    format: AnswerFormat = "auto"
    kind: AnswerKind = "number"
