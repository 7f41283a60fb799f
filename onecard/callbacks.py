"""Thin shells between the trainers' events and our display and journal."""

import math
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval.run import evaluate
from eval.task import Task
from onecard.display import Display, Tick
from onecard.drift import LOGGED_AS, count_drift
from onecard.journal import Journal
from onecard.runs import Run
from onecard.types import RunFailed

if TYPE_CHECKING:
    from trl import GRPOTrainer

    from onecard.policy import Policy

COMPLETIONS_SHOWN = 4
STEPS_BETWEEN_COMPLETIONS = 10


class ShowWarmup(TrainerCallback):
    """Moves the warm-up's progress display on, with the latest logged loss."""

    def __init__(self, tick: Tick) -> None:
        self.tick = tick
        self.facts: dict[str, float] = {}

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if logs and "loss" in logs:
            self.facts = {"loss": logs["loss"]}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.tick(state.global_step, **self.facts)


class RecordGrpo(TrainerCallback):
    """Writes every step to the journal, with the best and the worst completion's reward and a few completions to read.

    Stops a run whose engine drifts from its trainer.
    """

    trainer: "GRPOTrainer"  # set by build_trainer

    def __init__(self, journal: Journal, tick: Tick) -> None:
        self.journal = journal
        self.tick = tick
        self.drifting = 0  # steps in a row

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not logs or "reward" not in logs:
            return  # the summary at the end of training
        step = state.global_step
        batch = self.trainer._logs  # the completions that TRL would print itself; it has no public name for them
        weights = args.reward_weights  # type: ignore[attr-defined]
        rows = zip(*batch["rewards"].values(), strict=True)
        paid = [[w * v for w, v in zip(weights, row, strict=True) if not math.isnan(v)] for row in rows]  # NaN: not applicable
        totals = [sum(row) for row in paid if row]
        best = {"rewards/best": max(totals, default=None), "rewards/worst": min(totals, default=None)}
        drift = logs.get(LOGGED_AS)
        self.journal.log(step, best | self.trainer.step_time.seconds | ({} if drift is None else {"sampling/drift": drift}), trl=logs)
        self.drifting = count_drift(self.drifting, drift)
        self.tick(step, reward=logs["reward"])
        if step == 1 or step % STEPS_BETWEEN_COMPLETIONS == 0:
            self.journal.text(step, "completions", readable(batch, COMPLETIONS_SHOWN))


class SkipUseless(TrainerCallback):
    """Leaves the weights, and the optimizer's moments, as they are after a step that has nothing to say: where a gradient is no finite
    number, or where within every group all rewards were alike, so that a KL term and old momentum alone would move them.
    """

    trainer: "GRPOTrainer"  # set by build_trainer

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.skipped = 0
        self.in_a_row = 0

    def on_pre_optimizer_step(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        gradients = [p.grad for p in self.trainer.model.parameters() if p.grad is not None]
        broken = not all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
        alike = not any(self.trainer._logs["advantages"])  # TRL's, of the whole generation; all None makes them 0 too
        useless = alike or (broken and self.trainer.accelerator.scaler is None)  # a scaler of 16-bit losses skips by itself
        if useless:
            self.trainer.model.zero_grad()
        self.skipped, self.in_a_row = self.skipped + useless, self.in_a_row + 1 if useless else 0
        for name, count in (("skipped", self.skipped), ("skipped_in_a_row", self.in_a_row)):
            self.trainer._metrics["train"][f"steps/{name}"].append(float(count))
        if self.in_a_row >= self.limit:
            why = (
                "in every group all completions were paid alike: the problems are too easy or too hard, or the rewards see no difference. "
                "Other problems, a warm-up, or another reward would give it something to learn from"
                if alike
                else "the gradient was no finite number; a smaller grpo.learning_rate, or bf16 instead of fp16, is the usual remedy"
            )
            raise RunFailed(f"{self.in_a_row} steps in a row changed nothing (grading.max_skipped_steps): {why}")


class EvaluateDev(TrainerCallback):
    """Puts the dev task, where there is one, to the policy every `every_steps` steps. Training goes on as if it had not been asked."""

    trainer: "GRPOTrainer"  # set by build_trainer

    def __init__(self, policy: "Policy", task: Task | None, every_steps: int | None, run: Run, journal: Journal) -> None:
        self.policy, self.task, self.every_steps, self.run, self.journal = policy, task, every_steps, run, journal

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        step = state.global_step
        if self.task and self.every_steps and step % self.every_steps == 0:
            folder = self.run.evaluation(self.task.benchmark, f"step-{step}")
            quiet = Display(Console(quiet=True))  # the bar of the whole phase is on the screen
            self.journal.evaluation(step, [evaluate(self.policy, self.task, folder, quiet, self.task.benchmark)])
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # training gets back what generation's cache took


def readable(batch: dict[str, Any], count: int) -> str:
    """`count` completions from all over a batch, as Markdown: question, completion, each reward, advantage."""
    blocks = []
    size = len(batch["completion"])
    for index in range(0, size, max(1, size // count)):
        paid = ", ".join(f"{name} {values[index]:g}" for name, values in batch["rewards"].items())
        question = batch["prompt"][index][-1]["content"]
        completion = batch["completion"][index][-1]["content"]
        blocks.append(
            f"**question**\n\n{fenced(question)}\n\n**completion**\n\n{fenced(completion)}\n\n"
            f"{paid}; advantage {batch['advantages'][index]:+.2f}"
        )
    return "\n\n---\n\n".join(blocks)


def fenced(text: str) -> str:
    """Text as an indented Markdown block: what a model wrote is shown, never rendered."""
    return "\n".join(f"    {line}" for line in text.splitlines())
