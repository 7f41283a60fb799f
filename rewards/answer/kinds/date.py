"""A date, a time of day, or both: 2024-05-01, May 1, 2024, 14:30, 2:30 pm, 2024-05-01T14:30.

05/01/2024 is none: it is two dates, in two countries.
"""

import re
from datetime import date, datetime, time
from typing import Any

from rewards.answer.kinds.base import Kind

MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
MONTH = "|".join(rf"{month[:3]}(?:{month[3:]})?" for month in MONTHS)
DAY = r"(?P<day>[0-3]?[0-9])(?:st|nd|rd|th)?"
ISO_DATE = r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
SECONDS, HALF = r"(?::(?P<second>[0-9]{2}))?", r"(?: ?(?P<half>[ap])\.?m\.?)?"
CLOCK = rf"(?P<hour>[0-9]{{1,2}}):(?P<minute>[0-9]{{2}}){SECONDS}{HALF}"
DATES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        ISO_DATE,
        rf"(?P<word>{MONTH})\.? {DAY},? (?P<year>[0-9]{{4}})",
        rf"{DAY}\.?(?: of)? (?P<word>{MONTH})\.?,? (?P<year>[0-9]{{4}})",
        CLOCK,
        rf"{ISO_DATE}[T ]{CLOCK}",
    )
]


class Date(Kind):
    wanted = "a date as 2024-05-01, a time as 14:30, or both"

    def read_gold(self, value: Any) -> str | None:
        if isinstance(value, date | datetime | time):  # of Parquet
            value = value.isoformat()
        if not isinstance(value, str) or read_moment(value) is None:
            return None
        return value.strip()

    def another(self, gold: str) -> str:
        return "1583-01-01" if gold != "1583-01-01" else "1583-01-02"

    def equal(self, answer: str, gold: str) -> bool | None:
        found = read_moment(answer)
        return found is not None and found == read_moment(gold)


def read_moment(text: str) -> tuple[date | None, time | None] | None:
    """The date and the time that a text says; None for one that is not there, or for no moment."""
    text = " ".join(text.split()).rstrip(".")
    found = next((match for pattern in DATES if (match := pattern.fullmatch(text))), None)
    if found is None:
        return None
    parts = found.groupdict()
    try:
        return day_of(parts), hour_of(parts)
    except ValueError:  # the 31st of April, 25:00
        return None


def day_of(parts: dict[str, str | None]) -> date | None:
    if parts.get("year") is None:
        return None
    word = parts.get("word")
    if word:
        starts = [month[:3] for month in MONTHS]
        month = starts.index(word[:3].casefold()) + 1
    else:
        month = int(parts["month"] or 0)
    return date(int(parts["year"] or 0), month, int(parts["day"] or 0))


def hour_of(parts: dict[str, str | None]) -> time | None:
    if parts.get("hour") is None:
        return None
    hour, half = int(parts["hour"] or 0), parts.get("half")
    if half:
        if not 1 <= hour <= 12:
            raise ValueError("no hour of half a day")
        hour = hour % 12 + (12 if half.casefold() == "p" else 0)
    return time(hour, int(parts["minute"] or 0), int(parts.get("second") or 0))
