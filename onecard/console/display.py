"""What a person sees while a run works: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

SECONDS_BETWEEN_LINES = 10.0
SHORTEST_PACE_SHOWN = 0.1  # seconds a unit; what is faster is not worth reading


class Advance(Protocol):
    """Moves a phase's display on: `done` units are finished. `numbers` are shown beside that."""

    def __call__(self, done: int, **numbers: float | None) -> None: ...


class Display:
    """One console. `phase()` shows one phase of the run and gives the function that moves it on."""

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        # It writes to the terminal also while print() is sent to a file.
        self.console = console or Console(file=sys.stdout, highlight=False, quiet=quiet)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def phase(self, name: str, total: int, unit: str = "step", begun: int = 0) -> Iterator[Advance]:
        """Show `total` units of work, of which `begun` were done before.

        The pace is wall time. For GRPO it counts generation and rewards too.
        """
        started = time.monotonic()

        def line(done: int, numbers: dict[str, float | None]) -> str:
            seconds = time.monotonic() - started
            pace = seconds / max(done - begun, 1)
            shown = [f"{key} {value:.3g}" for key, value in numbers.items() if value is not None]
            if pace >= SHORTEST_PACE_SHOWN:
                shown.append(f"{pace:.2f} s/{unit}")
            left = f"{clock(pace * (total - done))} left" if done < total else clock(seconds)
            return "  ".join([*shown, left])

        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description:<20}", markup=False),
                BarColumn(24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[told]}", markup=False),
            )
            with Progress(*columns, console=self.console) as progress:
                task = progress.add_task(name, total=total, completed=begun, told="")

                def move_bar(done: int, **numbers: float | None) -> None:
                    progress.update(task, completed=done, told=line(done, numbers))

                yield move_bar
            return

        last_line = float("-inf")

        def write_line(done: int, **numbers: float | None) -> None:
            nonlocal last_line
            if done < total and time.monotonic() - last_line < SECONDS_BETWEEN_LINES:
                return
            last_line = time.monotonic()
            self.say(f"{name:<20} {unit} {done}/{total}  {line(done, numbers)}")

        yield write_line


def clock(seconds: float) -> str:
    """90 -> '1:30'."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
