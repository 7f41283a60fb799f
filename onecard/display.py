"""What a person sees while a run works: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

SECONDS_BETWEEN_LINES = 10.0

Tick = Callable[
    ..., None
]  # tick(done, **facts): how much of the phase is done, and what to show beside it


class Display:
    """One console. `phase()` shows one phase of the run and gives the function that moves it on."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(
            file=sys.stdout, highlight=False
        )  # also while print goes to a file

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def phase(self, name: str, total: int, unit: str = "step", begun: int = 0) -> Iterator[Tick]:
        """Show `total` units of work, `begun` of them done before. Pace is wall time: for GRPO it
        counts generation and rewards too.
        """
        started = time.monotonic()

        def facts_line(done: int, facts: dict[str, float | None]) -> str:
            seconds = time.monotonic() - started
            pace = seconds / max(done - begun, 1)
            shown = [f"{key} {value:.3g}" for key, value in facts.items() if value is not None]
            if pace >= 0.1:
                shown.append(f"{pace:.2f} s/{unit}")
            return "  ".join(
                [*shown, f"{clock(pace * (total - done))} left" if done < total else clock(seconds)]
            )

        if self.console.is_terminal:
            named, told = (
                TextColumn("{task.description:<20}", markup=False),
                TextColumn("{task.fields[facts]}", markup=False),
            )
            with Progress(
                named, BarColumn(24), MofNCompleteColumn(), told, console=self.console
            ) as progress:
                task = progress.add_task(name, total=total, completed=begun, facts="")
                yield lambda done, **facts: progress.update(
                    task, completed=done, facts=facts_line(done, facts)
                )
            return

        last_line = float("-inf")

        def tick(done: int, **facts: float | None) -> None:
            nonlocal last_line
            if done >= total or time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                self.say(f"{name:<20} {unit} {done}/{total}  {facts_line(done, facts)}")

        yield tick


def clock(seconds: float) -> str:
    """90 -> '1:30'."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
