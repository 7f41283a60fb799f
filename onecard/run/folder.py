"""The run folder: where everything that one run makes is found afterwards."""

import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from onecard.files.formats import write_json, write_yaml
from onecard.machine.packages import versions
from onecard.run.lock import lock_folder, who_may_write
from onecard.run.process import is_first, wait_for
from onecard.types import FOLDER_NAME, UserError

# Names of what is in a run folder, for those who have the folder alone.
RECIPE, RANDOM_MODEL, SFT_MODEL, ADAPTER, EVALUATIONS = (
    "recipe.resolved.yaml",
    "random-model",
    "base-model",
    "adapter",
    "eval",
)
REWARD_MODEL = "reward-model"  # or reward-model-2, where it was renewed


@dataclass
class Run:
    """runs/<name>/, locked for this run, and the seconds that each phase took.

    Those of an interrupted run count too. Every process of a run has a Run; the first has the lock
    and writes.
    """

    folder: Path
    lock: IO[str] | None
    resumed: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    begun: tuple[str, float] | None = None  # the phase under way, and when it was last noted
    noting: threading.Lock = field(default_factory=threading.Lock)  # two threads do

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def completions(self) -> Path:
        """Some of the newest step's completions, for whoever watches."""
        return self.folder / "completions.json"

    @property
    def health(self) -> Path:
        """One line per alarm, as it began."""
        return self.folder / "health.jsonl"

    @property
    def adapter(self) -> Path:
        """The run's result."""
        return self.folder / ADAPTER

    @property
    def random_model(self) -> Path:
        """A model that was made for this run from nothing."""
        return self.folder / RANDOM_MODEL

    @property
    def sft_model(self) -> Path:
        """The whole model after SFT of all weights: the base of the run's adapter."""
        return self.folder / SFT_MODEL

    def reward_model_after(self, label: str) -> Path:
        """The reward model that a round has trained: reward-model, reward-model-2."""
        return self.folder / label.replace("reward_model", REWARD_MODEL)

    @property
    def start_adapter(self) -> Path:
        """The adapter that the run goes on from, copied from another run."""
        return self.folder / "start-adapter"

    def adapter_after(self, label: str) -> Path:
        """The adapter after a round that was not the run's last: sft-adapter, grpo-1-adapter."""
        return self.folder / f"{label}-adapter"

    def state_after(self, label: str) -> Path:
        """What rewards and the choice of problems remember after such a round of GRPO."""
        return self.folder / f"{label}-state"

    def is_done(self, label: str) -> bool:
        """Whether a round that was not the run's last was finished."""
        if label.startswith("reward_model"):
            return self.reward_model_after(label).is_dir()
        whole = label == "sft" and self.sft_model.is_dir()
        return whole or self.adapter_after(label).is_dir()

    @property
    def recipe(self) -> Path:
        return self.folder / RECIPE

    @property
    def environment(self) -> Path:
        return self.folder / "environment.json"

    @property
    def pilot(self) -> Path:
        return self.folder / "pilot.json"

    @property
    def seconds_file(self) -> Path:
        return self.folder / "seconds.json"

    def checkpoints(self, label: str) -> Path:
        """The checkpoints of one round: checkpoints/sft, checkpoints/grpo-2."""
        return self.folder / "checkpoints" / label

    def evaluation(self, benchmark: str, when: str) -> Path:
        """The folder of one evaluation: `when` is before, after or step-N."""
        return self.folder / EVALUATIONS / f"{benchmark}-{when}"

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is inside as one phase of the run."""
        self.begun = (name, time.monotonic())
        yield
        self.note_seconds()
        self.begun = None

    def note_seconds(self) -> None:
        """Write down the seconds of each phase until now.

        A run that is killed later still counts them.
        """
        with self.noting:
            if self.begun:
                name, since = self.begun
                self.begun = (name, time.monotonic())
                before = self.seconds.get(name, 0.0)
                self.seconds[name] = round(before + self.begun[1] - since, 2)
            if is_first():
                write_json(self.seconds_file, self.seconds)

    def discard(self) -> None:
        """Remove the folder of a new run that was refused: it has no metric and no checkpoint."""
        kept = self.metrics.exists() or (self.folder / "checkpoints").exists()
        if is_first() and not self.resumed and not kept:
            shutil.rmtree(self.folder)


def judged_file(reward_model: Path) -> Path:
    """How well a reward model that a run has trained ranks what it was not trained on."""
    return reward_model.with_name(f"{reward_model.name}.json")


def open_run(root: Path, name: str, recipe: dict[str, Any]) -> Run:
    """Make the run folder root/name, with the resolved recipe and environment.json.

    Raises UserError where it is there already, or cannot be made.
    """
    folder = root / name
    if not is_first():
        wait_for(folder / RECIPE)
        return Run(folder, None)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UserError(
            f"{folder} exists already: add --resume to go on with that run, --name NAME to begin"
            " another, or remove the folder"
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot make the run folder {folder}: {error.strerror}{who_may_write(root)}"
        ) from None
    run = Run(folder, lock_folder(folder))
    write_json(run.environment, environment())
    write_yaml(run.recipe, recipe)
    return run


def check_name(name: str) -> str:
    """The name of a run folder as it is. Raises UserError where it is no plain folder name."""
    if not re.match(FOLDER_NAME, name):
        raise UserError(
            f"--name {name}: wanted a plain folder name of letters, digits, '.', '_' and '-'"
        )
    return name


def environment() -> dict[str, Any]:
    """What the run ran on: versions, platform, the code's commit.

    A token that stands in the command is not kept.
    """
    token = os.environ.get("HF_TOKEN") or "\0"
    return {
        "command": [argument.replace(token, "$HF_TOKEN") for argument in sys.argv],
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions(),
    }


def commit() -> str | None:
    """The commit of this code; None without git, or outside a clone."""
    if not shutil.which("git"):
        return None
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or None
