"""One number as people and models write it: $1,200.00 dollars, x = 18., **18**, 18 %."""

import re
from decimal import Decimal

LONGEST_ANSWER = 300  # characters; what is longer is no answer that GSM8K or MATH asks for

PLAIN_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")

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
# "x =", "Total cost:", "=".
NAME = re.compile(r"(?:([A-Za-z][A-Za-z']*(?: [A-Za-z']+){0,4})|[A-Za-z]_\{?[0-9A-Za-z]\}?)? ?[=:]")
CURRENCY = r"(?:(?:US|A|C)?\$|[€£¥₹₩]|\\pounds|USD|EUR|GBP|Rs\.?)"
NUMBER = re.compile(
    rf"([-+](?! ))?(?:{CURRENCY} ?)?([-+](?! ))?"  # a sign before or after the currency
    r"([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(\.[0-9]+)?"
    rf"(?: ?{CURRENCY})?"
)
WORD = r"[A-Za-z\u00c0-\u024f\u00b5]{1,24}(?:'s)?[²³23]?\.?"
UNIT = re.compile(rf"(?:%|¢|°[CF]?|/ ?{WORD}|{WORD})(?:(?: ?/ ?| |-){WORD}){{0,4}}")
# Words that make another number of a number, two answers of one, or a guess of an answer.
NOT_UNITS = re.compile(
    r"\b(?:"
    r"or|and|to|through|until|till|versus|vs|between|either|instead|oder|und|bis|"
    r"about|around|roughly|approximately|approx|circa|maybe|perhaps|probably|possibly|likely|ish|"
    r"least|most|minimum|maximum|"
    r"not|never|but|if|is|are|was|wrong|incorrect|false|negative|below|above|under|over|"
    r"plus|minus|squared|cubed|x[23]?|e|pi|"
    r"half|halves|thirds?|fourths?|fifths?|sixths?|eighths?|tenths?|hundredths?|thousandths?|"
    r"dozens?|hundreds?|thousands?|(?:m|b|tr|quadr)illions?|lakhs?|crores?|mil|mln|mn|bn|kk?|b|"
    r"zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|"
    r"(?:thir|four|fif|six|seven|eigh|nine)teen|"
    r"twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
    r")\b",
    re.IGNORECASE,
)
MILLIONS = re.compile(r"\b[MK]\b")  # 18 m is metres, 18 M is not


def read_number(span: str) -> Decimal | None:
    """The one number that a declared answer is, as people write it; else None.

    $1,200.00 dollars, x = 18., **18** and 18 % are numbers. Nothing is evaluated: 18/1, 2**9, 1e2
    and 3 million are None, as are hedges and ranges.
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
