"""Tells what health finds, once, in plain words, and keeps it in health.jsonl."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from eval.scores import compare
from onecard.console.display import Display
from onecard.console.text import fenced
from onecard.files.formats import read_jsonl, write_jsonl
from onecard.run.folder import Run
from onecard.run.journal import Journal
from onecard.run.process import is_first
from onecard.types import EvalResult
from onecard.watch.alarm import Alarm
from onecard.watch.batch import most_paid
from onecard.watch.checks.accuracy import WORSE, benchmark_worse
from onecard.watch.health import Watch, check_health
from onecard.watch.section import Health
from rewards.scoring import Scored


class AlarmLog:
    """Looks at the journal after a step. Where a run was interrupted, it goes on telling."""

    def __init__(self, health: Health, run: Run, journal: Journal, display: Display) -> None:
        self.health, self.run, self.journal, self.display = health, run, journal, display
        self.watch = Watch(health, journal.history)
        if is_first():
            last = max((line["step"] for line in journal.history), default=0)
            told = read_jsonl(run.health) if run.health.exists() else []
            # What was told of steps that a resumed run takes again is told again. An empty file
            # says that somebody watched.
            # Whether a benchmark is worse shows at the end alone, which comes again.
            kept = [alarm for alarm in told if alarm["step"] <= last and alarm["name"] != WORSE]
            write_jsonl(run.health, kept)

    def look(self, step: int, scored: Sequence[Scored], labels: Sequence[str]) -> bool:
        """Tell what begins at this step; whether the recipe wants training to end over it.

        `scored`: the completions of the step, `labels` the names of the rewards.
        """
        standing = check_health(self.journal.history, self.health)
        hopeless = [alarm for alarm in standing if self.is_hopeless(alarm)]
        for alarm in self.watch.begun(standing):
            shown = most_paid(scored, labels) if alarm.name == "reward_hacking" else []
            self.tell(step, alarm, alarm in hopeless, shown)
        if hopeless:
            names = ", ".join(alarm.name for alarm in hopeless)
            self.display.say(
                f"training ends at step {step}, as health.stop_on asks: {names}. Evaluation and"
                " report follow"
            )
        return bool(hopeless)

    def is_hopeless(self, alarm: Alarm) -> bool:
        return alarm.level == "alarm" and alarm.name in self.health.stop_on

    def tell(self, step: int, alarm: Alarm, stopped: bool, completions: list[str]) -> None:
        """On the screen, in TensorBoard and in health.jsonl."""
        write_alarm(self.run, alarm, stopped, completions)
        blocks = [fenced(alarm.text), *map(fenced, completions)]
        self.journal.text(step, "health", "\n\n".join(blocks))
        self.display.say(alarm.text)


def write_alarm(run: Run, alarm: Alarm, stopped: bool, completions: list[str]) -> None:
    """One more line of health.jsonl."""
    if not is_first():
        return
    told = asdict(alarm) | {"text": alarm.text, "stopped": stopped, "completions": completions}
    with run.health.open("a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")


def tell_worse_benchmarks(
    run: Run, step: int, before: Sequence[EvalResult], after: Sequence[EvalResult], display: Display
) -> None:
    """Tell of each benchmark that training made worse; once, also where a run is gone on with."""
    told = {alarm["text"] for alarm in read_jsonl(run.health)} if run.health.exists() else set()
    for one, other in zip(before, after, strict=True):
        alarm = benchmark_worse(step, one.benchmark, compare(one, other))
        if alarm is None:
            continue
        if alarm.text not in told:
            write_alarm(run, alarm, stopped=False, completions=[])
        display.say(alarm.text)
