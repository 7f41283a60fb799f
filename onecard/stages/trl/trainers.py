"""TRL's trainers, as they train here: they can be killed and resumed to the bit."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
import torch
from transformers import Trainer
from trl import DPOTrainer, RewardTrainer, SFTTrainer

from onecard.model.adapter import train_in_32_bit, trained_parameters
from onecard.model.engines.on_cpu import quick
from onecard.run.checkpoint import Checkpoint
from onecard.run.process import rank
from onecard.run.state import put_random_states, read_tree
from onecard.stages.trl.state import load_weights, put_state


class Resumable:
    """A trainer of 32-bit weights that reads our checkpoints.

    transformers would unpickle its own.
    """

    read: dict[str, Any]  # the state of the checkpoint that is resumed

    def __init__(self, **named: Any) -> None:
        before = trained_parameters(named["model"])
        super().__init__(**named)
        train_in_32_bit(named["model"], before)

    def train_from(self: Any, checkpoint: Checkpoint | None) -> int:
        """Train to the end, from a checkpoint's step on where there is one; the last step.

        After the last step there are but the weights to put back, and what later rounds go on
        from: transformers would train one more.
        """
        if checkpoint and checkpoint.last:
            load_weights(self.model, checkpoint.folder)
            self.load_own_state(read_tree(checkpoint.folder)["own"])
            return checkpoint.step
        self.train(resume_from_checkpoint=str(checkpoint.folder) if checkpoint else None)
        return int(self.state.global_step)

    def forward_pass(self: Any, model: Any) -> AbstractContextManager[None]:
        """For a forward pass: what makes a CPU quick, but not where it is computed once more later.

        Gradient checkpointing does that in the backward pass, and both must be computed alike.
        """
        if self.args.gradient_checkpointing:
            return nullcontext()
        return quick(self.accelerator.unwrap_model(model), training=True)

    def own_state(self) -> dict[str, Any]:
        """What this kind of trainer adds to a checkpoint."""
        return {}

    def load_own_state(self, state: dict[str, Any]) -> None:
        """Go on from what own_state() gave."""

    def _load_from_checkpoint(self: Any, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        load_weights(self.model, folder)
        self.read = read_tree(folder)

    def _load_optimizer_and_scheduler(self: Any, checkpoint: str | None) -> None:
        if checkpoint is not None:
            put_state(self, self.read)
            self.load_own_state(self.read["own"])

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Done with the optimizer."""

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            put_random_states(self.read["random"][rank()])


class OnecardSftTrainer(Resumable, SFTTrainer):
    """TRL's SFTTrainer that can be killed."""

    def compute_loss(self, model: Any, *arguments: Any, **named: Any) -> Any:
        with self.forward_pass(model):
            return super().compute_loss(model, *arguments, **named)


class OnecardDpoTrainer(Resumable, DPOTrainer):
    """TRL's DPOTrainer that can be killed."""

    def compute_loss(self, model: Any, *arguments: Any, **named: Any) -> Any:
        with self.forward_pass(model):
            return super().compute_loss(model, *arguments, **named)


class OnecardRewardTrainer(Resumable, RewardTrainer):
    """TRL's RewardTrainer that can be killed."""


class OnecardRowTrainer(Resumable, Trainer):
    """Right or wrong, completion by completion: TRL has no loss for rows without a pair."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.model_accepts_loss_kwargs = False  # a mean over each micro-batch

    def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> torch.Tensor:
        labels = inputs.pop("labels")  # (B,)
        logits = model(**inputs).logits[:, 0]  # (B,)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
