"""Tests that run code need the sandbox's walls, which not every kernel has."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from onecard.types import UserError
from rewards.sandbox.client import check_kernel


def why_not() -> str:
    """Why there can be no sandbox on this machine; nothing where there can."""
    try:
        check_kernel()
    except UserError as error:
        return str(error)
    return ""


needs_walls = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can be built")


def marked_where(needs: Callable[[Any], bool], values: Iterable[Any]) -> list[Any]:
    """Parameters of a test, of which some run code."""
    return [pytest.param(one, marks=needs_walls) if needs(one) else one for one in values]
