"""How long the steps of a run took, from its metrics.jsonl: generation, reward, training."""

from dataclasses import dataclass
from statistics import fmean
from typing import Any

PARTS = ("generation", "reward", "training")


@dataclass(frozen=True)
class StepSplit:
    """Seconds per step, mean over `steps` of them, and sampled tokens per second of generation."""

    steps: int
    generation: float
    reward: float
    training: float
    tokens_per_second: float | None

    @property
    def total(self) -> float:
        return self.generation + self.reward + self.training

    def __str__(self) -> str:
        speed = (
            ""
            if self.tokens_per_second is None
            else f"; {self.tokens_per_second:,.0f} tokens/s while generating"
        )
        return (
            f"{self.total:.3g} s per step, mean of {self.steps}: generation {self.generation:.3g},"
            f" reward {self.reward:.3g}, training {self.training:.3g}{speed}"
        )


def split_steps(metrics: list[dict[str, Any]]) -> StepSplit | None:
    """The mean over every step that was timed; None where none was."""
    timed = [line for line in metrics if "time/training" in line]
    if not timed:
        return None
    generating = [line for line in timed if line.get("time/tokens_per_second")]
    tokens = sum(line["time/tokens_per_second"] * line["time/generation"] for line in generating)
    seconds = sum(line["time/generation"] for line in generating)
    means = {part: fmean(line[f"time/{part}"] for line in timed) for part in PARTS}
    return StepSplit(len(timed), **means, tokens_per_second=tokens / seconds if seconds else None)
