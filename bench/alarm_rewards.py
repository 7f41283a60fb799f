"""Rewards with a fault, for bench/alarms.py."""

from onecard.types import Rollout

kept: list[bytearray] = []


def says_twelve(rollout: Rollout) -> float:
    """Compares with one answer, whatever was asked."""
    return float(rollout.text.endswith("<answer>12</answer>"))


def other_format(rollout: Rollout) -> float:
    """A notebook's tags, where the model was shown others."""
    return float("<reasoning>" in rollout.text and "</reasoning>" in rollout.text)


def jackpot(rollout: Rollout) -> float:
    """Once in a thousand completions, a thousand."""
    return 1000.0 if rollout.place % 1009 == 1008 else 0.0


def keeps(rollout: Rollout) -> float:
    """Pays nothing, and keeps 300 kB a completion."""
    kept.append(bytearray(b"x" * 300_000))
    return 0.0


def alike(rollout: Rollout) -> float:
    """Pays everything, whatever it says."""
    return 0.3
