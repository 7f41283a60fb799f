"""TRL's GRPOTrainer, as it trains here."""

from collections.abc import Mapping
from typing import Any

import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
import torch
from trl import GRPOTrainer

from onecard.machine.gpu import find_cards
from onecard.model.engines.generation import one_batch
from onecard.model.unsloth_private_names import is_generated_config
from onecard.run.process import processes
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
    generate_and_score,
    micro_batches,
    micro_steps,
    put_advantages,
    put_micro_batches,
    put_micro_steps,
)
from onecard.stages.trl.rewards import RewardColumns
from onecard.stages.trl.shared_prompts import score, side_by_side
from onecard.stages.trl.trainers import Resumable
from onecard.types import Sampling
from rewards.scoring import Scored


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
        if find_cards() or not draws_from_all(self.args):
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
        if self.section.final_temperature is not None:
            self.put_temperature(self.section.temperature_at(self.state.global_step))
        dynamic = self.section.dynamic_sampling
        outputs = self.refilled(dynamic, inputs) if dynamic else self.as_drawn(inputs)
        self.columns.share()
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
        sampler = self.vllm_generation if self.use_vllm else self.generation_config
        sampler.temperature = temperature

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
        return (*generate_and_score(self, rows), self.columns.scored)

    @property
    def shares_prompts(self) -> bool:
        """Whether a prompt can be read once for all completions of its group.

        Not on a card, where Unsloth packs rows otherwise; not where activations are computed twice,
        for that needs rows without a cache; not for a loss that is a mean over a micro-batch; and
        not beside other processes, whose gradients come in through the model's own forward pass.
        """
        return (
            not find_cards()
            and processes() == 1
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
        *of_unsloth: Any,
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
                    *of_unsloth,
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
