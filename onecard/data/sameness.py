"""Rows that ask the same: twice, with two answers, or in training and in a benchmark."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from onecard.types import Problem, UserError
from rewards.answer.kinds.table import KINDS

SHOWN = 5  # rows that an error or a line names
# Between two digits these are part of a number or of a ratio; after a digit or a bracket ! is a
# factorial. All signs of mathematics stay: 5 - 3 is not 5 + 3, and f'(2) is not f''(2).
QUOTES = '"`\u2018\u2019\u201c\u201d'
PUNCTUATION = re.compile(rf"(?<![0-9])[.,;:?]|[.,;:?](?![0-9])|(?<![0-9)])!|[{QUOTES}]|'(?![('])")


def plain_words(text: str) -> str:
    """A text without case, punctuation and further white space: two that differ by these alone
    ask the same.
    """
    return " ".join(PUNCTUATION.sub(" ", text.casefold()).split())


def asked_words(problem: Problem) -> str:
    """What a problem asks, as plain words: of all its messages, where it has some."""
    if problem.prompt is None or isinstance(problem.prompt, str):
        return plain_words(problem.question)
    return plain_words("\n".join(message["content"] for message in problem.prompt))


def same_gold(one: Problem, other: Problem) -> bool:
    """Whether two right answers are the same, however they are written."""
    if one.gold == other.gold or one.kind in ("none", "expression"):
        return one.gold == other.gold
    kind = KINDS[one.kind]
    return bool(kind.equal(kind.written(one.gold), other.gold))


@dataclass(frozen=True)
class Pair:
    """Two rows that ask the same, by their ids; `first` stands before `second`."""

    first: str
    second: str


def check_rows(problems: Sequence[Problem], accept: Iterable[str]) -> list[str]:
    """What there is to tell of rows that ask the same, one sentence each.

    Raises UserError for different right answers to one question, unless `accept` has
    `contradictions`.
    """
    first: dict[str, Problem] = {}
    twice: list[Pair] = []
    contradictions: list[Pair] = []
    for problem in problems:
        other = first.setdefault(asked_words(problem), problem)
        if other is problem:
            continue
        pair = Pair(other.id, problem.id)
        (twice if same_gold(other, problem) else contradictions).append(pair)
    told = []
    if twice:
        told.append(
            f"{len(twice):,} training rows ask what an earlier one asks: {pairs_text(twice)}"
        )
    if contradictions:
        found = (
            f"{len(contradictions):,} training rows ask what an earlier one asks, and have another"
            f" right answer: {pairs_text(contradictions)}"
        )
        if "contradictions" not in accept:
            raise UserError(
                f"data.path: {found}; mend them, or take them with `data.accept: [contradictions]`"
            )
        told.append(found)
    return told


def by_words(problems: Iterable[Problem]) -> dict[str, str]:
    """The ids of problems, by what they ask."""
    return {asked_words(problem): problem.id for problem in problems}


def check_unseen(
    trained: Mapping[str, str], asked: Sequence[Problem], benchmark: str, accept: Iterable[str]
) -> list[str]:
    """What there is to tell of a benchmark's problems that are among the training ones.

    `trained` is what by_words says of those. Raises UserError, with rows, unless `accept` has
    `leaks`.
    """
    seen = []
    for problem in asked:
        words = asked_words(problem)
        if words in trained:
            seen.append(f"{problem.id} (training row {trained[words]})")
    if not seen:
        return []
    found = (
        f"{len(seen):,} problems of {benchmark} are in the training data: rows"
        f" {', '.join(seen[:SHOWN])}"
    )
    if "leaks" not in accept:
        raise UserError(
            f"eval.benchmarks: {found}; take them out of one of the two, or accept them with"
            " `data.accept: [leaks]`"
        )
    return [found]


def pairs_text(pairs: Sequence[Pair]) -> str:
    shown = ", ".join(f"{pair.second} (as {pair.first})" for pair in pairs[:SHOWN])
    return f"rows {shown}{', ...' if len(pairs) > SHOWN else ''}"
