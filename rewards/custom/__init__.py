"""Reward functions of the user's own."""

from rewards.custom.entry import Custom, check_functions

__all__ = ["Custom", "check_functions"]
