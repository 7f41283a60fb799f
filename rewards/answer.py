"""The one grader, used by training and by evaluation: reads the one declared answer and compares it exactly."""

import re
from decimal import Decimal
from typing import Literal

from onecard.types import Rollout, Score, Verdict
from rewards.base import Reward
from rewards.symbolic import same_expression

AnswerFormat = Literal["auto", "answer", "hash", "boxed"]
LONGEST_ANSWER = 300  # characters; what is longer is no answer that GSM8K or MATH asks for
MOST_MARKERS = 8  # of one kind; more is a model repeating itself, and would make reading them slow

PLAIN_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
CURRENCY = re.compile(r"[$€£¥₹]")
END_MARKS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "</s>", "<eos>")
CALCULATOR = re.compile(r"<<[^<>]*>>")
LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
LATEX_SPACE = re.compile(r"\\[!,;: ]|~")
VARIABLE = re.compile(r"[^\W\d_]+(?: [^\W\d_]+){0,3} ?=")  # "x =", "total cost ="
NUMBER = re.compile(r"([-+]?) ?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(\.[0-9]+)?")
UNIT = re.compile(r"%|[^\W\d_]+[²³]?(?:[ /-][^\W\d_]+[²³]?){0,4}")
# Words that make of a number another number, or of one answer two.
NOT_UNITS = re.compile(
    r"\b(?:or|and|to|between|about|around|roughly|approximately|maybe|perhaps|not|but|plus|minus|times|over|half|quarter|third|"
    r"dozen|hundred|thousand|million|billion|trillion|one|two|three|four|five|six|seven|eight|nine|ten|pi|k|e|x)\b",
    re.IGNORECASE,
)


def grade(completion: str | None, gold: str, answer_format: AnswerFormat = "auto", truncated: bool = False) -> Score:
    """1.0 if the completion declares exactly `gold`, else 0.0; with the verdict and the text that was read.

    Never falls back to a number in the working. Without a marker the verdict is NO_ANSWER, or TRUNCATED where the token
    limit cut the completion off. Plain decimal golds are compared as exact decimals; any other gold goes to math-verify
    in a process of its own (GRADER_ERROR when that does not answer in time). Never raises, never hangs, and gives the
    same on every thread; linear in the length of the completion.
    """
    if not isinstance(completion, str):
        return Score(0.0, Verdict.NO_ANSWER)
    spans = declared(str.__getitem__(completion, slice(None)), answer_format)  # a str subclass may override anything
    if not spans:
        return Score(0.0, Verdict.TRUNCATED if truncated else Verdict.NO_ANSWER)
    extracted = " | ".join(spans)[:LONGEST_ANSWER]
    if len(spans) > 1 or len(spans[0]) > LONGEST_ANSWER:
        return Score(0.0, Verdict.WRONG, extracted)
    if PLAIN_NUMBER.fullmatch(gold):
        right: bool | None = read_number(spans[0]) == Decimal(gold)
    else:
        right = same_expression(spans[0], gold)
    if right is None:
        return Score(0.0, Verdict.GRADER_ERROR, extracted)
    return Score(float(right), Verdict.CORRECT if right else Verdict.WRONG, extracted)


def declared(text: str, answer_format: AnswerFormat = "auto") -> list[str]:
    """The different answers that a completion declares, in order; one is a declaration, more contradict each other.

    Looked for after the last </think> or </reasoning>. `auto` reads the first kind of marker that is there at all:
    <answer>...</answer>, then a `####` line, then the last \\boxed{...}.
    """
    text = without_end_mark(text)
    for end_of_thinking in ("</think>", "</reasoning>"):
        text = text.rpartition(end_of_thinking)[2]
    for name, marker, read in (("answer", "<answer>", tagged), ("hash", "####", hashed), ("boxed", "\\boxed", boxed)):
        if answer_format in ("auto", name) and marker in text:
            if text.count(marker) > MOST_MARKERS and name != "boxed":
                return [marker, "..."]
            return list(dict.fromkeys(span.strip() for span in read(text)))
    return []


def without_end_mark(text: str) -> str:
    """The text without the end token that some engines leave in, and without the white space around it."""
    text = text.strip()
    for mark in END_MARKS:
        text = text.removesuffix(mark).rstrip()
    return text


def tagged(text: str) -> list[str]:
    """What stands in <answer>...</answer>. An unclosed or a nested tag declares nothing."""
    pieces = text.split("<answer>")[1:]
    return [piece.partition("</answer>")[0] for piece in pieces if "</answer>" in piece]


def hashed(text: str) -> list[str]:
    """What follows #### on its line."""
    return [piece.partition("\n")[0] for piece in text.split("####")[1:] if piece.partition("\n")[0].strip()]


def boxed(text: str) -> list[str]:
    """What the last \\boxed{...} holds, its braces balanced; an unclosed box declares nothing."""
    start = text.find("{", text.rfind("\\boxed"))
    depth = 0
    for place in range(start, min(len(text), start + LONGEST_ANSWER + 2)) if start >= 0 else ():
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return [text[start + 1 : place]]
    return []


def read_number(span: str) -> Decimal | None:
    """The one number that a declared answer is, as people write it: $1,200.00 dollars, x = 18., **18**, 18 %; else None.

    Not evaluated: 18/1, 2**9, 1e2, 3 million are None, as are hedges and ranges.
    """
    text = LATEX_TEXT.sub(r" \1 ", CALCULATOR.sub("", span))
    text = text.replace("\u2212", "-").replace("{,}", ",").replace("\\%", "%").replace("\\(", "").replace("\\)", "")
    text = " ".join(LATEX_SPACE.sub(" ", text.replace("\\!", "")).replace("\\$", "$").replace("\u00a0", " ").split())
    text = text.strip("*_` ").rstrip(".! ")
    text = VARIABLE.sub("", text, count=1).strip("*_` ") if "=" in text else text
    if len(CURRENCY.findall(text)) <= 2:  # $18, 18 €, or $18$ in math mode
        text = CURRENCY.sub("", text).strip()
    text = text.removesuffix(".")
    number = NUMBER.match(text)
    if number is None or not (number[2] or number[3]):
        return None
    unit = text[number.end() :].strip()
    if unit and (not UNIT.fullmatch(unit) or NOT_UNITS.search(unit)):
        return None
    return Decimal(f"{number[1]}{(number[2] or '0').replace(',', '')}{number[3] or ''}")


class CorrectAnswer(Reward):
    """Pays 1 for the right declared answer and 0 for all else; the reasoning is not looked at.

    Gamed by guessing where few answers are possible, or by declaring several. Guarded by reading one declared answer and
    never the working; two different answers are wrong.
    """

    name: Literal["correct_answer"]
    answer_format: AnswerFormat = "auto"

    def score(self, rollout: Rollout) -> Score:
        return grade(rollout.text, rollout.sample.gold, self.answer_format, rollout.truncated)


class AnswerIsNumber(Reward):
    """Pays 1 when the declared answer is a number at all, right or wrong: the notebooks' "int" reward.

    Gamed by declaring any number; so keep its weight far below correct_answer's.
    """

    name: Literal["answer_is_number"]
    answer_format: AnswerFormat = "auto"

    def score(self, rollout: Rollout) -> Score:
        spans = declared(rollout.text, self.answer_format)
        number = read_number(spans[0]) if len(spans) == 1 and len(spans[0]) <= LONGEST_ANSWER else None
        return Score(float(number is not None), extracted=spans[0][:LONGEST_ANSWER] if spans else None)
