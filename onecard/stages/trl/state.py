"""Everything that a step of a trainer changes: copied to memory, written, and put back exactly.

So that a resumed run is the same run.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import torch as safetensors

from onecard.files.atomic import write_atomic
from onecard.model.adapter import copied, copy_adapter, load_adapter, write_adapter
from onecard.model.policy import Policy
from onecard.run.checkpoint import ADAPTER, METRICS, MODEL, TRAINER_STATE
from onecard.run.state import random_states, split, write_tree
from onecard.run.together import gather


@dataclass(frozen=True)
class TrainingState:
    """A stage after `step` optimizer steps.

    `weights`: the adapter's, or the whole model's where that is trained. `tree` is plain JSON;
    where a tensor belongs it names one of `tensors`. `metrics`: the content of metrics.jsonl, None
    before there is one. `ended_early`: health ended the training there.
    """

    step: int
    weights: dict[str, torch.Tensor]
    tree: Any
    tensors: dict[str, torch.Tensor]
    trainer_state: str
    metrics: bytes | None
    ended_early: bool


def take_state(
    trainer: Any, own: dict[str, Any], metrics: bytes | None = None, ended_early: bool = False
) -> TrainingState:
    """Copy everything to the CPU's memory. `own`: what this kind of trainer adds."""
    scaler = trainer.accelerator.scaler
    state = {
        "optimizer": trainer.optimizer.state_dict(),
        "scheduler": trainer.lr_scheduler.state_dict(),
        "scaler": scaler.state_dict() if scaler else None,
        "random": gather(random_states()),  # each process draws its own numbers
        "own": own,
    }
    tensors: dict[str, torch.Tensor] = {}
    tree = split(state, tensors)
    counters = asdict(replace(trainer.state, log_history=[]))  # metrics.jsonl has that
    return TrainingState(
        trainer.state.global_step,
        copy_weights(trainer.model),
        tree,
        tensors,
        json.dumps(counters, indent=2) + "\n",
        metrics,
        ended_early,
    )


def copy_weights(model: Any) -> dict[str, torch.Tensor]:
    """What is trained of a model: its adapter, or all of it."""
    if hasattr(model, "peft_config"):
        return copy_adapter(model)
    return {name: copied(tensor) for name, tensor in model.state_dict().items()}


def write_state(state: TrainingState, folder: Path, policy: Policy) -> None:
    """The files of a checkpoint, but for its manifest. No pickle: safetensors and JSON."""
    if policy.has_adapter:
        write_adapter(state.weights, folder / ADAPTER, policy.model, policy.base)
    else:
        write_atomic(folder / MODEL, safetensors.save(state.weights))
    write_tree(state.tree, state.tensors, folder)
    write_atomic(folder / TRAINER_STATE, state.trainer_state)
    if state.metrics is not None:
        write_atomic(folder / METRICS, state.metrics)


def load_weights(model: Any, folder: Path) -> None:
    """Put the weights of a checkpoint into the model."""
    if hasattr(model, "peft_config"):
        load_adapter(model, folder / ADAPTER)
    else:
        model.load_state_dict(safetensors.load_file(folder / MODEL))


def put_state(trainer: Any, state: dict[str, Any]) -> None:
    """Optimizer, scheduler and scaler as they were.

    The random states have to wait until the data is back in its place.
    """
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.lr_scheduler.load_state_dict(state["scheduler"])
    follow_schedule(trainer)
    if trainer.accelerator.scaler:
        trainer.accelerator.scaler.load_state_dict(state["scaler"])


def follow_schedule(trainer: Any) -> None:
    """Set the learning rate that this run's schedule has at this step.

    The checkpoint's own is that of the schedule under which it was made: 0 at the end of a run that
    is now made longer. Where the schedule is the same, so is the rate, to the bit.
    """
    schedule = trainer.lr_scheduler
    rules = zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
    for group, (rate, share_at) in zip(trainer.optimizer.param_groups, rules, strict=True):
        group["lr"] = rate * share_at(schedule.last_epoch)
