"""Thin shells between the trainers' events and our display and journal."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval.run import evaluate
from eval.task import Task
from onecard.batch import DRIFT, measure, most_paid, readable, signal_share
from onecard.console.display import Advance, Display
from onecard.console.text import fenced
from onecard.files.formats import read_jsonl, write_jsonl
from onecard.health import History, Watch, check_health
from onecard.journal import Journal
from onecard.machine.gpu import GIB
from onecard.recipe import Health
from onecard.runs import Run

if TYPE_CHECKING:
    from trl import GRPOTrainer

    from onecard.policy import Policy

COMPLETIONS_SHOWN = 4
STEPS_BETWEEN_COMPLETIONS = 10


class ShowWarmup(TrainerCallback):
    """Moves the warm-up's progress display on, with the latest logged loss."""

    def __init__(self, tick: Advance) -> None:
        self.tick = tick
        self.facts: dict[str, float] = {}

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if logs and "loss" in logs:
            self.facts = {"loss": logs["loss"]}

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.tick(state.global_step, **self.facts)


class RecordGrpo(TrainerCallback):
    """Writes every step to the journal, with what TRL does not measure, and a few completions to
    read.
    """

    trainer: "GRPOTrainer"  # set by build_trainer

    def __init__(self, journal: Journal, tick: Advance) -> None:
        self.journal = journal
        self.tick = tick

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if not logs or "loss" not in logs:
            return  # the summary at the end of training
        step = state.global_step
        # the completions that TRL would print itself; it has no public name for them
        batch = self.trainer._logs
        measured = {
            "adapter/lora_b_norm": lora_b_norm(self.trainer.model),
            "memory/gib": memory_gib(),
        } | self.trainer.step_time.seconds
        if "reward" in logs:  # not where a step uses completions for the second time
            measured |= measure(batch, args.reward_weights, args.num_generations)  # type: ignore[attr-defined]
        # The last two are names that tutorials teach.
        also = {
            "sampling/drift": logs.get(DRIFT),
            "objective/kl": logs.get("kl"),
            "objective/entropy": logs.get("entropy"),
        }
        self.journal.log(
            step,
            measured | {tag: value for tag, value in also.items() if value is not None},
            trl=logs,
        )
        self.tick(step, reward=logs.get("reward"))
        if step == 1 or step % STEPS_BETWEEN_COMPLETIONS == 0:
            self.journal.text(step, "completions", readable(batch, COMPLETIONS_SHOWN))


class SkipUseless(TrainerCallback):
    """Leaves the weights, and the optimizer's moments, as they are after a step that has nothing to
    say: where a gradient is no finite number, or where within every group all rewards were alike,
    so that a KL term and old momentum alone would move them.

    Counted as steps/skipped; `history` has the counts of an interrupted run. Health ends a training
    that does nothing else.
    """

    trainer: "GRPOTrainer"  # set by build_trainer

    def __init__(self, history: History) -> None:
        last = next((line for line in reversed(history) if "steps/skipped" in line), {})
        self.skipped = int(last.get("steps/skipped", 0))
        self.in_a_row = int(last.get("steps/skipped_in_a_row", 0))

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        gradients = [p.grad for p in self.trainer.model.parameters() if p.grad is not None]
        broken = not all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
        # By the rewards: TRL's advantages of rewards all alike are 0 only where those are exact in
        # binary.
        alike = not signal_share(self.trainer._logs, args.reward_weights, args.num_generations)  # type: ignore[attr-defined]
        if alike or (
            broken and self.trainer.accelerator.scaler is None
        ):  # a scaler of 16-bit losses leaves such steps out by itself
            self.trainer.model.zero_grad()
        self.skipped += alike or broken
        self.in_a_row = self.in_a_row + 1 if alike or broken else 0
        for name, count in (("skipped", self.skipped), ("skipped_in_a_row", self.in_a_row)):
            self.trainer._metrics["train"][f"steps/{name}"].append(float(count))


class WatchHealth(TrainerCallback):
    """Says once, in plain words, what is wrong, keeps it in health.jsonl, and ends a training that
    `health.stop_on` calls hopeless.

    Comes after RecordGrpo, which adds the step to the journal.
    """

    trainer: "GRPOTrainer"  # set by build_trainer

    def __init__(self, settings: Health, run: Run, journal: Journal, display: Display) -> None:
        self.settings, self.run, self.journal, self.display = settings, run, journal, display
        self.watch = Watch(settings, journal.history)
        last = max((line["step"] for line in journal.history), default=0)
        told = read_jsonl(run.health) if run.health.exists() else []
        # What was told of steps that a resumed run takes again is told again. An empty file says
        # that somebody watched.
        write_jsonl(run.health, [alarm for alarm in told if alarm["step"] <= last])

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if not logs or "reward" not in logs:
            return  # the summary at the end of training
        standing = check_health(self.journal.history, self.settings)
        hopeless = [
            alarm
            for alarm in standing
            if alarm.level == "alarm" and alarm.name in self.settings.stop_on
        ]
        for alarm in self.watch.begun(standing):
            weights = args.reward_weights  # type: ignore[attr-defined]
            texts = most_paid(self.trainer._logs, weights) if alarm.name == "reward_hacking" else []
            with self.run.health.open("a", encoding="utf-8") as file:
                told = asdict(alarm) | {
                    "text": alarm.text,
                    "stopped": alarm in hopeless,
                    "completions": texts,
                }
                file.write(json.dumps(told) + "\n")
            self.journal.text(
                state.global_step, "health", "\n\n".join([fenced(alarm.text), *map(fenced, texts)])
            )
            self.display.say(alarm.text)
        if hopeless:
            control.should_training_stop = True
            names = ", ".join(alarm.name for alarm in hopeless)
            self.display.say(
                f"training ends at step {state.global_step}, as health.stop_on asks: {names}."
                " Evaluation and report follow"
            )


class EvaluateDev(TrainerCallback):
    """Puts the dev task, where there is one, to the policy every `every_steps` steps. Training goes
    on as if it had not been asked.
    """

    trainer: "GRPOTrainer"  # set by build_trainer

    def __init__(
        self,
        policy: "Policy",
        task: Task | None,
        every_steps: int | None,
        run: Run,
        journal: Journal,
    ) -> None:
        self.policy, self.task, self.every_steps, self.run, self.journal = (
            policy,
            task,
            every_steps,
            run,
            journal,
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        step = state.global_step
        if self.task and self.every_steps and step % self.every_steps == 0:
            folder = self.run.evaluation(self.task.benchmark, f"step-{step}")
            quiet = Display(Console(quiet=True))  # the bar of the whole phase is on the screen
            self.journal.evaluation(
                step, [evaluate(self.policy, self.task, folder, quiet, self.task.benchmark)]
            )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # training gets back what generation's cache took


def lora_b_norm(model: torch.nn.Module) -> float:
    """The length of all LoRA B matrices together: 0 before the first step, and another after every
    step that changes the adapter.
    """
    matrices = [
        p.detach() for name, p in model.named_parameters() if "lora_B" in name and p.requires_grad
    ]
    # In 64 bits, where the smallest change of one number shows.
    return float(
        torch.stack([torch.linalg.vector_norm(m, dtype=torch.float64) for m in matrices]).norm()
    )


def memory_gib() -> float | None:
    """What torch holds of the card; without one, what the process has taken, in memory or swapped
    out; None where /proc does not say.

    Not the resident set, which also counts mapped files: the system drops their pages and reads
    them back as it likes.
    """
    if torch.cuda.is_available():
        return torch.cuda.memory_reserved() / GIB
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    kib = {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in lines)
        if name in ("RssAnon", "VmSwap")
    }
    return sum(kib.values()) * 1024 / GIB if kib else None
