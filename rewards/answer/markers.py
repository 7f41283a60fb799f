"""Where a completion declares its answer: <answer> tags, a #### line, a LaTeX box."""

from functools import partial

from rewards.answer.number import LONGEST_ANSWER, read_number
from rewards.answer.section import AnswerFormat

MOST_MARKERS = 8  # of one kind; more is a model repeating itself, and would make reading them slow

END_MARKS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "</s>",
    "<eos>",
)


def declared(
    text: str,
    answer_format: AnswerFormat = "auto",
    longest: int = LONGEST_ANSWER,
    has_words: bool = False,
) -> list[str]:
    """The different answers that a completion declares, in order. More than one contradict each
    other.

    Looked for after the last </think> or </reasoning>. `auto` reads the first kind of marker that
    is there at all: <answer>...</answer>, then a `####` line, then the last \\boxed{...}, which
    may hold `longest` characters. Answers that have words look like headings after ####: the last
    such line counts.
    """
    text = after_thinking(text)
    for name, marker, read in (
        ("answer", "<answer>", tagged),
        ("hash", "####", last_hashed if has_words else hashed),
        ("boxed", "\\boxed", partial(boxed, longest=longest)),
    ):
        if answer_format in ("auto", name) and marker in text:
            if text.count(marker) > MOST_MARKERS and name != "boxed":
                return [marker, "..."]
            spans = list(dict.fromkeys(unwrapped(span) for span in read(text)))
            if spans or name != "hash":  # a #### line may be a mere heading
                return spans
    return []


def after_thinking(text: str) -> str:
    """The text after the last </think> or </reasoning>, without an end token."""
    text = without_end_mark(text)
    for end_of_thinking in ("</think>", "</reasoning>"):
        text = text.rpartition(end_of_thinking)[2]
    return text


def marked(answer: str, answer_format: AnswerFormat) -> str:
    """An answer in the marker that a recipe asks for; `auto` writes <answer> tags."""
    if answer_format == "hash":
        return f"\n#### {answer}"
    if answer_format == "boxed":
        return f"\\boxed{{{answer}}}"
    return f"<answer>{answer}</answer>"


def without_end_mark(text: str) -> str:
    """The text without an end token that some engines leave in, and without white space around
    it.
    """
    text = text.strip()
    for mark in END_MARKS:
        text = text.removesuffix(mark).rstrip()
    return text


def tagged(text: str) -> list[str]:
    """What stands in <answer>...</answer>.

    Where one tag is unclosed or holds another, nothing is declared.
    """
    pieces = text.split("<answer>")[1:]
    if not all("</answer>" in piece for piece in pieces):
        return []
    return [piece.partition("</answer>")[0] for piece in pieces]


def hashed(text: str) -> list[str]:
    """What follows #### on its line, headings (#### Step 1) left out."""
    lines = [piece.partition("\n")[0].strip() for piece in text.split("####")[1:]]
    return [line for line in lines if line and not is_heading(line)]


def last_hashed(text: str) -> list[str]:
    """What follows the last #### on its line."""
    line = text.rpartition("####")[2].partition("\n")[0].strip()
    return [line] if line else []


def is_heading(line: str) -> bool:
    """Whether what follows #### is a title and not an answer: it begins with a word."""
    return line[0].isalpha() and read_number(line) is None


def boxed(text: str, longest: int = LONGEST_ANSWER) -> list[str]:
    """What the last \\boxed{...} holds, its braces balanced; an unclosed box declares nothing."""
    start = text.rfind("\\boxed") + len("\\boxed")
    depth = 0
    for place in range(start, min(len(text), start + longest + 2)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0 and text[place] != " ":
            return [text[text.index("{", start) + 1 : place]] if text[place] == "}" else []
    return []


def unwrapped(span: str) -> str:
    """A span without a second marker around the same answer, as in <answer>\\boxed{18}</answer>."""
    span = span.strip().removeprefix("####").strip()
    inner = span.strip("$ ")
    return (
        inner[len("\\boxed{") : -1].strip()
        if inner.startswith("\\boxed{") and inner.endswith("}")
        else span
    )
