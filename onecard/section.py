"""What all sections of a recipe have in common, and the kinds of numbers that stand in them."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """The base of every section. It takes only what it knows, and exactly as it is meant.

    Unknown keys are refused. Types are not converted: "8" is not 8. Infinity and NaN are not
    numbers. Nothing changes after the recipe was read.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence: the known name that is nearest to a misspelt one; "" if none is."""
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""
