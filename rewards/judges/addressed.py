"""Sentences of a completion that speak to its judge, and not to the person who asked."""

import re

# A sentence goes that has one of these: it is about being judged, which no answer has to be.
SPEAKS_TO_THE_JUDGE = re.compile(
    r"\b(ignore|disregard|forget|override)\b.{0,60}"
    r"\b(rubric|instructions?|prompt|above|previous|prior|system)\b"
    r"|\b(rate|score|grade|rank|give|award|assign)\b.{0,10}"
    r"\b(this|my|it)\b.{0,20}\b(answer|response|completion|solution|10|ten|full|top"
    r"|highest|maximum|perfect|best|first)\b"
    r"|\b(full|top|highest|maximum|perfect) (marks?|scores?|points?|rating)\b"
    r"|\b(10|ten) ?(/|out of) ?(10|ten)\b"
    r"|\b(judges?|graders?|evaluators?|reward model|rubric)\b"
    r"|\"?scores?\"?\s*:\s*\[?\s*[0-9]",
    re.IGNORECASE,
)
SENTENCE_ENDS = re.compile(r"(?<=[.!?\n])")


def without_addresses(text: str) -> str:
    """The text without the sentences that speak to the judge. Linear in its length."""
    kept = []
    for sentence in SENTENCE_ENDS.split(text):
        if not SPEAKS_TO_THE_JUDGE.search(sentence):
            kept.append(sentence)
    return "".join(kept)
