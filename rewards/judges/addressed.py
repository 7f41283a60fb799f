"""Sentences of a completion that speak to its judge, and not to the person who asked.

They are found by their words, in English. Other languages, letters that look alike and new ideas
get through: the judge is told that all of it is data, and the share of completions that speak to it
is logged.
"""

import re
import unicodedata

NUMBER = r"(?:a |an |the )?(?:10|ten|full|top|highest|maximum|perfect|best)"
# A sentence goes that has one of these: it is about being judged, which no answer has to be. What
# an answer to a question may say is not among them: scores of games, judges in a story.
SPEAKS_TO_THE_JUDGE = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,60}"
    r"\b(?:rubric|instructions?|prompt|guidelines)\b"
    r"|\b(?:rate|score|grade|rank|give|award|assign)\b.{0,10}"
    rf"\b(?:this|my) (?:answer|response|completion|solution)\b.{{0,30}}\b{NUMBER}\b"
    r"|\b(?:give|award|deserves?|assign|worth|earns?)\b.{0,15}"
    r"\b(?:full|top|highest|maximum|perfect) (?:marks?|scores?|points?|rating)\b"
    r"|\b(?:dear|hello|hey|attention|note to(?: the)?|as an?|you are an?|you are the) "
    r"(?:judge|grader|evaluator|reviewer|reward model)\b"
    r"|\b(?:every|all)(?: the)?(?: other)? (?:numbers?|scores?|answers?)\b.{0,20}"
    r"\b(?:0|zero|mine)\b"
    r"|\"?\bscores\b\"?\s*:\s*\[\s*[0-9]"
    # Nothing but an order to give it, or the mark itself.
    r"|^\W*(?:please )?(?:you (?:must|should|have to) )?"
    r"(?:give|assign|award|output|return|respond with|answer with|write)(?: me| it| this| us)?"
    rf" {NUMBER}\b(?: (?:here|points?|marks?|out of 10|out of ten))?\W*$"
    r"|^\W*(?:score|rating|grade|verdict|marks?)\s*[:=]\s*(?:10|ten|[0-9])"
    r"(?:\s*(?:/|out of)\s*(?:10|ten))?\W*$",
    re.IGNORECASE,
)
SENTENCE_ENDS = re.compile(r"(?<=[.!?\n])")


def without_addresses(text: str) -> str:
    """The text without the sentences that speak to the judge. Linear in its length."""
    kept = []
    for sentence in SENTENCE_ENDS.split(text):
        if not SPEAKS_TO_THE_JUDGE.search(as_read(sentence)):
            kept.append(sentence)
    return "".join(kept)


def as_read(text: str) -> str:
    """A text as a person sees it: wide letters are letters, and what has no width is not there."""
    plain = unicodedata.normalize("NFKC", text)
    return "".join(letter for letter in plain if unicodedata.category(letter) != "Cf")
