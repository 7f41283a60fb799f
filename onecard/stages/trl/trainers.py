"""TRL's trainers, as they train here: they can be killed and resumed to the bit."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
import torch
from transformers import Trainer
from trl import DPOTrainer, GRPOTrainer, RewardTrainer, SFTTrainer

from onecard.model.engines.generation import one_batch
from onecard.model.engines.on_cpu import quick
from onecard.model.unsloth_private_names import is_generated_config
from onecard.run.checkpoint import Checkpoint
from onecard.run.state import put_random_states, read_tree
from onecard.stages.choosing import Choice
from onecard.stages.order import PromptOrder
from onecard.stages.sections.dynamic_sampling import DynamicSampling
from onecard.stages.sections.grpo import Grpo
from onecard.stages.trl.config import draws_from_all
from onecard.stages.trl.groups import draw_groups
from onecard.stages.trl.packing import pack_advantages
from onecard.stages.trl.private_names import (
    add_metric,
    answering,
    micro_batches,
    micro_steps,
    put_advantages,
    put_micro_batches,
    put_micro_steps,
    sample,
)
from onecard.stages.trl.rewards import RewardColumns
from onecard.stages.trl.shared_prompts import score, side_by_side
from onecard.stages.trl.state import load_weights, put_state
from onecard.types import Sampling
from rewards.scoring import Scored


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
    section: Grpo
    choice: Choice | None = None  # of problems, for dynamic sampling
    rows: Mapping[str, dict[str, Any]]  # the training set by problem, for that

    def own_state(self) -> dict[str, Any]:
        return {
            "micro_steps": micro_steps(self),
            "scoring": self.columns.scorer.state(),
            "place": self.columns.place,
            "choice": self.choice.state() if self.choice else None,
        }

    def load_own_state(self, state: dict[str, Any]) -> None:
        put_micro_steps(self, state["micro_steps"])
        self.columns.scorer.load_state(state["scoring"])
        self.columns.place = state["place"]
        if self.choice:
            self.choice.load_state(state["choice"])

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
        self.put_temperature(self.section.temperature_at(self.state.global_step))
        dynamic = self.section.dynamic_sampling
        outputs = self.refilled(dynamic, inputs) if dynamic else self.as_drawn(inputs)
        if self.section.credit == "outcome":
            return outputs
        width, like = outputs["completion_ids"].size(1), outputs["advantages"]
        credited = self.columns.credited(
            self.section.credit, width, divide=self.scale_rewards != "none"
        )
        outputs["advantages"] = torch.tensor(credited, dtype=like.dtype, device=like.device)
        put_advantages(self, self.columns.shown)
        return outputs

    def put_temperature(self, temperature: float) -> None:
        """For what samples, and for the loss, which Unsloth's trainer reads from its arguments."""
        self.temperature = self.args.temperature = temperature
        if self.use_vllm:
            self.vllm_generation.temperature = temperature
        else:
            self.generation_config.temperature = temperature

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **named: Any) -> Any:
        if is_generated_config(self.args) and inputs["advantages"].dim() == 2:
            inputs = pack_advantages(inputs)
        return super().compute_loss(model, inputs, *arguments, **named)

    def as_drawn(self, inputs: Any) -> Any:
        """The completions of the problems that TRL has drawn."""
        return super()._generate_and_score_completions(inputs)

    def refilled(self, dynamic: DynamicSampling, tickets: Any) -> Any:
        """As many completions as TRL asks for, of groups that teach something.

        TRL's data loader reads ahead, so that what it has drawn only says how many.
        """
        assert self.choice is not None
        size = self.num_generations
        needed = len(tickets) // size
        drawn = draw_groups(dynamic, self.choice, self.rows, needed, size, self.sample)
        with answering(self, drawn.generated, drawn.rewards):
            outputs = self.as_drawn(drawn.rows)
        self.columns.scored, self.columns.sampled = drawn.scored, drawn.all_scored
        for name, value in drawn.measured.items():
            add_metric(self, name, value)
        return outputs

    def sample(
        self, rows: list[dict[str, Any]]
    ) -> tuple[tuple[Any, ...], torch.Tensor, list[Scored]]:
        """A completion for each row of the training set, and what it is paid."""
        return (*sample(self, rows), self.columns.scored)

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
