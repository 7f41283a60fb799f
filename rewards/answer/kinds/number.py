"""One decimal number, compared exactly: 1,200.00 and $1200 are the same."""

import re
from decimal import Decimal
from typing import Any

from rewards.answer.kinds.base import Kind, as_text
from rewards.answer.number import PLAIN_NUMBER, read_number

GOLD_NUMBER = re.compile(r"-?([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]+)?")


class Number(Kind):
    has_words = False
    wanted = "a number or end in '#### NUMBER'"

    def read_gold(self, value: Any) -> str | None:
        text = None if isinstance(value, bool) else as_text(value)
        if text is None or not GOLD_NUMBER.fullmatch(text):
            return None
        return text.replace(",", "")

    def another(self, gold: str) -> str:
        return str(Decimal(gold) + 1)

    def equal(self, answer: str, gold: str) -> bool | None:
        assert PLAIN_NUMBER.fullmatch(gold)
        return read_number(answer) == Decimal(gold)
