"""The one grader, used by training and by evaluation: reads the declared answer and compares it exactly."""

import re
from decimal import Decimal

from onecard.types import Score, Verdict

LONGEST_ANSWER = 200  # characters; a longer span is no number that GSM8K asks for
ANSWER_TAG = re.compile(r"<answer>((?:(?!</?answer>).)*)</answer>", re.DOTALL)
HASH_LINE = re.compile(r"####([^\n]*)")
BOXED = re.compile(r"\\boxed\s*\{([^{}]*(?:\{,\}[^{}]*)*)\}")
CALCULATOR = re.compile(r"<<[^<>]*>>")
NUMBER = re.compile(r"([-+]?)\s*(\d{1,3}(?:,\d{3})+|\d+)?(\.\d+)?")
UNIT = re.compile(r"[^\W\d_]+(?:[ /][^\W\d_]+){0,3}|%")
NOT_UNITS = {"or", "and", "to", "between", "about", "not", "maybe", "e"}  # hedges, ranges, exponents: no plain answer


def grade(completion: str, gold: str, truncated: bool = False) -> Score:
    """1.0 if the completion declares exactly the number `gold`, else 0.0, with the verdict and the text that was read.

    Never falls back to a number in the working: no marker is NO_ANSWER, or TRUNCATED if the token limit cut it off.
    """
    span = declared(completion)
    if span is None:
        return Score(0.0, Verdict.TRUNCATED if truncated else Verdict.NO_ANSWER)
    number = read_number(span)
    if number is not None and number == Decimal(gold):
        return Score(1.0, Verdict.CORRECT, span)
    return Score(0.0, Verdict.WRONG, span)


def declared(completion: str) -> str | None:
    """The text that a completion declares as its answer: <answer>...</answer>, else #### ..., else the last \\boxed{...}.

    Looked for after the last </think>. None where there is no marker, or where one marker holds different answers.
    """
    text = completion.rpartition("</think>")[2]
    for marker in (ANSWER_TAG, HASH_LINE):
        spans = {span.strip() for span in marker.findall(text)}
        if spans:
            return spans.pop() if len(spans) == 1 else None
    boxed = BOXED.findall(text)
    return boxed[-1].strip() if boxed else None


def read_number(span: str) -> Decimal | None:
    """The one number that a declared answer is, as people write it: $1,200.00 dollars, x = 18., **18**, 18%; else None."""
    if len(span) > LONGEST_ANSWER or not span.isprintable():
        return None
    text = CALCULATOR.sub("", span).replace("\u2212", "-").replace("{,}", ",").replace("\\$", "$").replace("**", "")
    text = text.rpartition("=")[2].strip().removesuffix(".").strip()
    text = text.replace("$", "", 1)
    match = NUMBER.match(text)
    if match is None or not (match[2] or match[3]):
        return None
    rest = text[match.end() :].strip()
    if rest and not (UNIT.fullmatch(rest) and NOT_UNITS.isdisjoint(rest.lower().split())):
        return None
    return Decimal(f"{match[1]}{(match[2] or '0').replace(',', '')}{match[3] or ''}")
