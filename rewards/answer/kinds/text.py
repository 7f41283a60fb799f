"""Words: without case, punctuation and articles (TriviaQA), or exactly as they stand."""

import json
import re
import string
from collections.abc import Sequence
from typing import Any

from rewards.answer.kinds.base import Kind, as_json, as_text

ARTICLES = re.compile(r"\b(?:a|an|the)\b")
# TriviaQA's evaluation script (Joshi et al. 2017) takes these out.
PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "\u2018\u2019\u00b4`", " "))
# Of these, what changes a meaning: C++ is not C, and -5 is not 5. A hyphen between words does not.
SYMBOLS = re.compile(r"[+#*/=<>%$^]|(?<!\w)-(?=[0-9.])")


class Text(Kind):
    """Compared as TriviaQA compares. A list of texts is one gold and its aliases."""

    wanted = "text, or a list of texts that mean the same"

    def read_gold(self, value: Any) -> str | None:
        if isinstance(value, list):
            texts = [as_text(one) for one in value]
            if not texts or not all(texts):
                return None
            return as_json(texts)
        text = as_text(value) or None
        # Text that reads like a list of aliases stays one text.
        return as_json([text]) if text and aliases(text) != [text] else text

    def written(self, gold: str) -> str:
        return aliases(gold)[0]

    def another(self, gold: str) -> str:
        return "another thing" if self.equal("something else", gold) else "something else"

    def equal(self, answer: str, gold: str) -> bool | None:
        said = normalized(answer), symbols_of(answer)
        return said[0] != "" and said in {
            (normalized(alias), symbols_of(alias)) for alias in aliases(gold)
        }

    def clash(self, golds: Sequence[str]) -> str | None:
        """Golds of which nothing is left, and pairs that only symbols tell apart."""
        seen: dict[str, str] = {}
        for gold in dict.fromkeys(golds):
            for alias in aliases(gold):
                words = normalized(alias)
                if not words:
                    return (
                        f"nothing is left of the answer {alias!r} when texts are compared without"
                        " punctuation and articles; `answer.kind: exact` compares them as they"
                        " stand"
                    )
                other = seen.setdefault(words, alias)
                if symbols_of(other) != symbols_of(alias):
                    return (
                        f"the answers {other!r} and {alias!r} would be the same when texts are"
                        " compared without punctuation; `answer.kind: exact` compares them as they"
                        " stand"
                    )
        return None


class Exact(Kind):
    """Compared as it stands, without the white space around it."""

    def read_gold(self, value: Any) -> str | None:
        return as_text(value) or None

    def equal(self, answer: str, gold: str) -> bool | None:
        return answer.strip() == gold


def aliases(gold: str) -> list[str]:
    """The texts of a gold: those of a list, or itself."""
    if not gold.startswith('["'):
        return [gold]
    try:
        found = json.loads(gold)
    except ValueError:
        return [gold]
    return found if all(isinstance(one, str) for one in found) else [gold]


def normalized(text: str) -> str:
    """Lower case, punctuation as spaces, no articles, single spaces."""
    words = text.casefold().replace("_", " ").translate(PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", words).split())


def symbols_of(text: str) -> str:
    return "".join(SYMBOLS.findall(text))
