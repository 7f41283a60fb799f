"""TRL's trainers, as they train here: they can be killed and resumed to the bit."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
import torch
from transformers import Trainer
from trl import DPOTrainer, GRPOTrainer, RewardTrainer, SFTTrainer

from onecard.model.engines.generation import one_batch
from onecard.model.engines.on_cpu import quick
from onecard.run.checkpoint import Checkpoint
from onecard.run.state import put_random_states, read_tree
from onecard.stages.advantages import Credit
from onecard.stages.order import PromptOrder
from onecard.stages.trl.private_names import (
    micro_batches,
    micro_steps,
    put_advantages,
    put_micro_batches,
    put_micro_steps,
)
from onecard.stages.trl.rewards import RewardColumns
from onecard.stages.trl.shared_prompts import score, side_by_side
from onecard.stages.trl.state import load_weights, put_state
from onecard.types import Sampling


class Resumable:
    """A trainer that reads our checkpoints, where transformers would unpickle its own."""

    read: dict[str, Any]  # the state of the checkpoint that is resumed

    def train_from(self: Any, checkpoint: Checkpoint | None) -> int:
        """Train to the end, from a checkpoint's step on where there is one; the last step.

        After the last step there are but the weights to put back: transformers would train one
        more.
        """
        if checkpoint and checkpoint.last:
            load_weights(self.model, checkpoint.folder)
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
            put_random_states(self.read["random"])


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


class OnecardGrpoTrainer(Resumable, GRPOTrainer):
    """TRL's GRPOTrainer that can be killed, and draws its prompts in an order that can be too."""

    columns: RewardColumns
    credit: Credit = "outcome"

    def own_state(self) -> dict[str, Any]:
        return {"micro_steps": micro_steps(self), "scoring": self.columns.scorer.state()}

    def load_own_state(self, state: dict[str, Any]) -> None:
        put_micro_steps(self, state["micro_steps"])
        self.columns.scorer.load_state(state["scoring"])

    def _generate_single_turn(self, prompt_ids: Any, *arguments: Any, **named: Any) -> Any:
        """On a CPU our own engine generates: transformers' generate() is several times slower."""
        if self.accelerator.device.type != "cpu" or not draws_from_all(self.args):
            return super()._generate_single_turn(prompt_ids, *arguments, **named)
        completions = one_batch(
            self.accelerator.unwrap_model(self.model_wrapped),
            self.processing_class,
            prompt_ids,
            Sampling(self.max_completion_length, len(prompt_ids), self.temperature),
            seed=int(torch.randint(2**31, ())),  # of torch's own state, which a checkpoint keeps
            leave=True,
        )
        return [list(completion.ids) for completion in completions], None

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        """TRL's own advantages, or those of another credit in their place."""
        outputs = super()._generate_and_score_completions(inputs)
        if self.credit == "outcome":
            return outputs
        width, like = outputs["completion_ids"].size(1), outputs["advantages"]
        credited = self.columns.credited(self.credit, width, divide=self.scale_rewards != "none")
        outputs["advantages"] = torch.tensor(credited, dtype=like.dtype, device=like.device)
        put_advantages(self, self.columns.shown)
        return outputs

    @property
    def shares_prompts(self) -> bool:
        """Whether a prompt can be read once for all completions of its group.

        Not on a card, where Unsloth packs rows otherwise; not where activations are computed twice,
        for that needs rows without a cache; and not for a loss that is a mean over a micro-batch.
        """
        return (
            self.accelerator.device.type == "cpu"
            and not self.args.gradient_checkpointing
            and self.args.loss_type != "bnpo"
            and not self.aux_loss_enabled
        )

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = micro_batches(self)
        inputs = super()._prepare_inputs(generation_batch)
        made = micro_batches(self)
        aligned = self.args.gradient_accumulation_steps % self.args.steps_per_generation == 0
        if made is None or made is before or not (self.shares_prompts and aligned):
            return inputs
        return put_micro_batches(self, side_by_side(made))

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,  # (B, P + C)
        attention_mask: torch.Tensor,  # (B, P + C)
        logits_to_keep: int,  # C
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **named: Any,
    ) -> Any:
        if not self.shares_prompts:
            with self.forward_pass(model):
                return super()._get_per_token_logps_and_entropies(
                    model,
                    input_ids,
                    attention_mask,
                    logits_to_keep,
                    batch_size,
                    compute_entropy,
                    **named,
                )
        decoder = self.accelerator.unwrap_model(model).get_decoder()
        rows = batch_size or len(input_ids)
        parts = zip(input_ids.split(rows), attention_mask.split(rows), strict=True)
        with self.forward_pass(model):
            scored = [score(model, decoder, ids, mask, logits_to_keep) for ids, mask in parts]
        logps = torch.cat([one for one, _ in scored])
        return logps, torch.cat([one for _, one in scored]) if compute_entropy else None, None

    def _get_train_sampler(self, dataset: Any = None) -> PromptOrder:
        return PromptOrder(super()._get_train_sampler(dataset), self.args.seed)


def draws_from_all(config: Any) -> bool:
    """Whether a GRPOConfig draws tokens from the whole vocabulary, and asks for nothing else."""
    whole = (config.top_p, config.top_k, config.min_p, config.repetition_penalty)
    return whole == (1.0, 0, None, 1.0) and not config.generation_kwargs
