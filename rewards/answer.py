"""The one grader, used by training and by evaluation: reads the one declared answer and compares it
exactly.
"""

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
END_MARKS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "</s>",
    "<eos>",
)

# How people and models dress a number. Each is undressed on its own; what is left must be one
# number and a unit.
CALCULATOR = re.compile(r"<<[^<>]*>>")  # GSM8K's annotations: 9*2 = $<<9*2=18>>18
LATEX_TEXT = re.compile(
    r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|mathsf|boldsymbol|mbox)\s*\{([^{}]*)\}"
)
LATEX_GROUPS = re.compile(r"(?<=[0-9])(?:\\[!,]|\{,\})(?=[0-9]{3}(?![0-9]))")  # 1\,200 and 1{,}200
LATEX_SPACE = re.compile(r"\\[!,;: ]|\\displaystyle\b|~|[\u00a0\u202f]")
LATEX_DEGREE = re.compile(r"\^\s*\{?\s*\\circ\s*\}?")
POWER_OF_UNIT = re.compile(r"(?<=[A-Za-z]) ?\^ ?\{?([23])\}?")
BOLD = re.compile(r"\*\*([^*]*)\*\*")
WRAPPERS = (
    ("$$", "$$"),
    ("$", "$"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ("{", "}"),
    ('"', '"'),
    ("\u201c", "\u201d"),
    ("`", "`"),
    ("*", "*"),
    ("_", "_"),
)
NAME = re.compile(
    r"(?:([A-Za-z][A-Za-z']*(?: [A-Za-z']+){0,4})|[A-Za-z]_\{?[0-9A-Za-z]\}?)? ?[=:]"
)  # "x =", "Total cost:", "="
CURRENCY = r"(?:(?:US|A|C)?\$|[€£¥₹₩]|\\pounds|USD|EUR|GBP|Rs\.?)"
NUMBER = re.compile(
    rf"([-+](?! ))?(?:{CURRENCY} ?)?([-+](?!"
    rf" ))?([0-9]{{1,3}}(?:,[0-9]{{3}})+|[0-9]+)?(\.[0-9]+)?(?: ?{CURRENCY})?"
)
WORD = r"[A-Za-z\u00c0-\u024f\u00b5]{1,24}(?:'s)?[²³23]?\.?"
UNIT = re.compile(rf"(?:%|¢|°[CF]?|/ ?{WORD}|{WORD})(?:(?: ?/ ?| |-){WORD}){{0,4}}")
# Words that make another number of a number, two answers of one, or a guess of an answer.
NOT_UNITS = re.compile(
    r"\b(?:or|and|to|through|until|till|versus|vs|between|either|instead|oder|und|bis|"
    r"about|around|roughly|approximately|approx|circa|maybe|perhaps|probably|possibly|likely|ish|least|most|minimum|maximum|"
    r"not|never|but|if|is|are|was|wrong|incorrect|false|negative|below|above|under|over|plus|minus|squared|cubed|x[23]?|e|pi|"
    r"half|halves|thirds?|fourths?|fifths?|sixths?|eighths?|tenths?|hundredths?|thousandths?|"
    r"dozens?|hundreds?|thousands?|(?:m|b|tr|quadr)illions?|lakhs?|crores?|mil|mln|mn|bn|kk?|b|"
    r"zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|"
    r"twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)\b",
    re.IGNORECASE,
)
MILLIONS = re.compile(r"\b[MK]\b")  # 18 m is metres, 18 M is not


def grade(
    completion: str | None, gold: str, answer_format: AnswerFormat = "auto", truncated: bool = False
) -> Score:
    """1.0 if the completion declares exactly `gold`, else 0.0; with the verdict and the text that
    was read.

    Never falls back to a number in the working. Without a marker the verdict is NO_ANSWER, or
    TRUNCATED where the token limit cut the completion off. Plain decimal golds are compared as
    exact decimals; any other gold goes to math-verify, with its tolerance of six decimals, in a
    process of its own (GRADER_ERROR when that does not answer in time). Never raises, never hangs,
    and gives the same on every thread; linear in the length of the completion.
    """
    if not isinstance(completion, str):
        return Score(0.0, Verdict.NO_ANSWER)
    spans = declared(
        str.__getitem__(completion, slice(None)), answer_format
    )  # a str subclass may override anything
    if not spans:
        return Score(0.0, Verdict.TRUNCATED if truncated else Verdict.NO_ANSWER)
    extracted = " | ".join(spans)[:LONGEST_ANSWER]
    numbers = {read_number(span) for span in spans}
    if (len(spans) > 1 and (len(numbers) > 1 or None in numbers)) or len(spans[0]) > LONGEST_ANSWER:
        return Score(0.0, Verdict.WRONG, extracted)
    if PLAIN_NUMBER.fullmatch(gold):
        right: bool | None = numbers == {Decimal(gold)}
    else:
        right = same_expression(spans[0], gold)
    if right is None:
        return Score(0.0, Verdict.GRADER_ERROR, extracted)
    return Score(float(right), Verdict.CORRECT if right else Verdict.WRONG, extracted)


def declared(text: str, answer_format: AnswerFormat = "auto") -> list[str]:
    """The different answers that a completion declares, in order; one is a declaration, more
    contradict each other.

    Looked for after the last </think> or </reasoning>. `auto` reads the first kind of marker that
    is there at all: <answer>...</answer>, then a `####` line, then the last \\boxed{...}.
    """
    text = without_end_mark(text)
    for end_of_thinking in ("</think>", "</reasoning>"):
        text = text.rpartition(end_of_thinking)[2]
    for name, marker, read in (
        ("answer", "<answer>", tagged),
        ("hash", "####", hashed),
        ("boxed", "\\boxed", boxed),
    ):
        if answer_format in ("auto", name) and marker in text:
            if text.count(marker) > MOST_MARKERS and name != "boxed":
                return [marker, "..."]
            spans = list(dict.fromkeys(unwrapped(span) for span in read(text)))
            if spans or name != "hash":  # a #### line may be a mere heading
                return spans
    return []


def marked(answer: str, answer_format: AnswerFormat) -> str:
    """An answer in the marker that a recipe asks for; `auto` writes <answer> tags."""
    return {"hash": f"\n#### {answer}", "boxed": f"\\boxed{{{answer}}}"}.get(
        answer_format, f"<answer>{answer}</answer>"
    )


def without_end_mark(text: str) -> str:
    """The text without the end token that some engines leave in, and without the white space around
    it.
    """
    text = text.strip()
    for mark in END_MARKS:
        text = text.removesuffix(mark).rstrip()
    return text


def tagged(text: str) -> list[str]:
    """What stands in <answer>...</answer>. Where one tag is unclosed or holds another, nothing is
    declared.
    """
    pieces = text.split("<answer>")[1:]
    return (
        [piece.partition("</answer>")[0] for piece in pieces]
        if all("</answer>" in piece for piece in pieces)
        else []
    )


def hashed(text: str) -> list[str]:
    """What follows #### on its line, headings (#### Step 1) left out."""
    lines = [piece.partition("\n")[0].strip() for piece in text.split("####")[1:]]
    return [
        line for line in lines if line and (not line[0].isalpha() or read_number(line) is not None)
    ]


def boxed(text: str) -> list[str]:
    """What the last \\boxed{...} holds, its braces balanced; an unclosed box declares nothing."""
    start = text.rfind("\\boxed") + len("\\boxed")
    depth = 0
    for place in range(start, min(len(text), start + LONGEST_ANSWER + 2)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0 and text[place] != " ":
            return [text[text.index("{", start) + 1 : place]] if text[place] == "}" else []
    return []


def unwrapped(span: str) -> str:
    """A span without a second marker around the same answer: <answer>\\boxed{18}</answer>, ####
    \\boxed{18}.
    """
    span = span.strip().removeprefix("####").strip()
    inner = span.strip("$ ")
    return (
        inner[len("\\boxed{") : -1].strip()
        if inner.startswith("\\boxed{") and inner.endswith("}")
        else span
    )


def read_number(span: str) -> Decimal | None:
    """The one number that a declared answer is, as people write it: $1,200.00 dollars, x = 18.,
    **18**, 18 %; else None.

    Not evaluated: 18/1, 2**9, 1e2, 3 million are None, as are hedges and ranges.
    """
    text = span.strip(" \t\r\n\u200b\ufeff")
    if len(text) > LONGEST_ANSWER or text.startswith("~"):  # ~18 is about 18
        return None
    if PLAIN_NUMBER.fullmatch(
        text
    ):  # nearly all answers; the rest of this function costs several times as much
        return Decimal(text)
    text = (
        LATEX_TEXT.sub(r" \1 ", CALCULATOR.sub(" ", text))
        .replace("\u2212", "-")
        .replace("\u2019", "'")
    )
    text = text.replace("\\%", "%").replace("\uff05", "%").replace("\\$", "$")
    text = LATEX_DEGREE.sub("° ", LATEX_SPACE.sub(" ", LATEX_GROUPS.sub("", text)))
    text = undressed(BOLD.sub(r" \1 ", text))
    name = NAME.match(text)
    if name is not None:
        if (
            name[1]
            and NOT_UNITS.search(name[1].removesuffix(" is"))
            and name[1] not in ("x", "e", "k", "b")
        ):
            return None
        text = undressed(text[name.end() :])
    number = NUMBER.match(text)
    if number is None or not (number[3] or number[4]) or (number[1] and number[2]):
        return None
    unit = POWER_OF_UNIT.sub(
        lambda power: "²" if power[1] == "2" else "³", text[number.end() :].strip()
    )
    if unit and (not UNIT.fullmatch(unit) or NOT_UNITS.search(unit) or MILLIONS.search(unit)):
        return None
    return Decimal(
        f"{number[1] or number[2] or ''}{(number[3] or '0').replace(',', '')}{number[4] or ''}"
    )


def undressed(text: str) -> str:
    """Text with single spaces, without the wrappers and the punctuation at its ends."""
    text = " ".join(text.split())
    for _ in range(4):  # **$18$**. has three layers
        text = text.rstrip(" .!,;")
        for opening, closing in WRAPPERS:
            if (
                len(text) > len(opening + closing)
                and text.startswith(opening)
                and text.endswith(closing)
            ):
                text = text[len(opening) : -len(closing)].strip()
    return text


class CorrectAnswer(Reward):
    """Pays 1 for the right declared answer and 0 for all else; the reasoning is not looked at.

    Gamed by guessing where few answers are possible, or by declaring several. Guarded by reading
    one declared answer and never the working; two different answers are wrong.
    """

    name: Literal["correct_answer"]
    answer_format: AnswerFormat = "auto"

    def score(self, rollout: Rollout) -> Score:
        return grade(rollout.text, rollout.sample.gold, self.answer_format, rollout.truncated)


def format_read_by(rewards: list[Reward]) -> AnswerFormat:
    """Where a recipe's answers are declared: correct_answer's setting, so that all else reads what
    training pays for.
    """
    return next(
        (reward.answer_format for reward in rewards if isinstance(reward, CorrectAnswer)), "auto"
    )


class AnswerIsNumber(Reward):
    """Pays 1 when the declared answer is a number at all, right or wrong: the notebooks' "int"
    reward.

    Gamed by declaring any number; so keep its weight far below correct_answer's.
    """

    name: Literal["answer_is_number"]
    answer_format: AnswerFormat = "auto"

    def score(self, rollout: Rollout) -> Score:
        spans = declared(rollout.text, self.answer_format)
        number = read_number(spans[0]) if len(spans) == 1 else None
        return Score(
            float(number is not None), extracted=spans[0][:LONGEST_ANSWER] if spans else None
        )
