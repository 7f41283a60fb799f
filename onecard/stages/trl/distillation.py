"""On-policy distillation, by TRL's GKDTrainer: ours samples a step's completions, whole steps at
once, with the engine that answers in evaluations too.
"""

import os
import zlib
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # its notice says nothing new

import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
import torch
from datasets import Dataset
from trl.experimental.gkd import GKDConfig, GKDTrainer

from onecard.model.engines.on_cpu import quick
from onecard.model.policy import Policy
from onecard.model.teacher import load_teacher
from onecard.run.library_output import redirect_libraries
from onecard.run.round import Round
from onecard.stages.sections.distill import Distill
from onecard.stages.training import Training
from onecard.stages.trl.config import settings_of
from onecard.stages.trl.divergence import divergence, hidden_states
from onecard.stages.trl.plain import PlainSteps, train_round
from onecard.stages.trl.trainers import Resumable
from onecard.types import Completion, Sampling


def distill(
    training: Training,
    one: Round,
    section: Distill,
    policy: Policy,
    prompts: Sequence[list[int]],
) -> None:
    """A round on tokenized `prompts`."""
    with redirect_libraries(training.run.folder):
        teacher = load_teacher(section.teacher, training.model.trust_remote_code)

    def build(steps: PlainSteps) -> OnecardGkdTrainer:
        config = GKDConfig(**settings_of(training, one, section, gkd_settings(section)))
        return OnecardGkdTrainer(
            policy,
            model=policy.model,
            teacher_model=teacher,
            processing_class=policy.tokenizer,
            args=config,
            data_collator=unchanged,
            train_dataset=Dataset.from_list([{"prompt_ids": ids} for ids in prompts]),
            callbacks=[steps],
        )

    train_round(training, one, policy, build)


def gkd_settings(section: Distill) -> dict[str, Any]:
    """What GKDConfig alone has. Pure."""
    return {
        "temperature": section.temperature,
        "max_new_tokens": section.max_completion_length,
        "beta": section.beta,
        # TRL would generate micro-batch by micro-batch; the trainer below has done it then.
        "lmbda": 0.0,
        "seq_kd": False,
        "disable_dropout": False,
    }


class OnecardGkdTrainer(Resumable, GKDTrainer):
    """TRL's GKDTrainer that can be killed. It is on-policy, and scores completions alone.

    All completions of a step are generated at once, by our own engines, and the loss is the mean
    over their tokens. TRL counts the tokens of the data set's completions in their place.
    """

    def __init__(self, policy: Policy, **named: Any) -> None:
        super().__init__(**named)
        self.policy = policy

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, torch.Tensor]], torch.Tensor | None]:
        """A step's micro-batches, each with what the policy answers now, and their tokens."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not batches:
            return [], None
        completions = iter(self.answer([prompt for batch in batches for prompt in batch]))
        padding = self.processing_class.pad_token_id
        answered = [
            padded([(prompt, next(completions).ids) for prompt in batch], padding, device)
            for batch in batches
        ]
        return answered, torch.stack([batch["sampled"].sum() for batch in answered]).sum()

    def answer(self, prompts: list[list[int]]) -> list[Completion]:
        """The policy's completions, in the order of their prompts."""
        sampling = Sampling(
            self.args.max_new_tokens,
            len(prompts),
            self.temperature,
            # Of the step: transformers puts torch's random state back only after this.
            seed=zlib.crc32(f"{self.args.seed} {self.state.global_step}".encode()),
        )
        found: dict[int, Completion] = {}
        for some in self.policy.generate(prompts, sampling):
            found |= some
        completions = [found[place] for place in range(len(prompts))]
        self.measured = {
            "completions/mean_length": fmean(len(one.ids) for one in completions),
            "completions/clipped_ratio": fmean(one.truncated for one in completions),
        }
        return completions

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        assert num_items_in_batch is not None
        tokens = inputs["input_ids"]  # (B, T)
        before = inputs["sampled"].roll(-1, dims=1)  # the places whose next token was sampled
        with self.forward_pass(model):
            ours = hidden_states(model, tokens)[before]
        with quick(self.teacher_model, training=True), torch.no_grad():
            theirs = hidden_states(self.teacher_model, tokens)[before]
        with self.forward_pass(model):
            apart = divergence(model, ours, self.teacher_model, theirs, self.beta, self.temperature)
        return apart / num_items_in_batch.to(apart.device)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log(logs | self.measured if "loss" in logs else logs, start_time)


def unchanged(rows: Sequence[dict[str, list[int]]]) -> list[list[int]]:
    """A micro-batch's prompts: there is nothing to pad before the completions are known."""
    return [row["prompt_ids"] for row in rows]


def padded(
    rows: Sequence[tuple[list[int], tuple[int, ...]]], padding: int, device: torch.device
) -> dict[str, torch.Tensor]:
    """Prompts with their completions as (B, T) tokens, padded on the right.

    `sampled`: (B, T) bool, the tokens of the completions.
    """
    width = max(len(prompt) + len(completion) for prompt, completion in rows)
    tokens = torch.full((len(rows), width), padding, device=device)
    sampled = torch.zeros(len(rows), width, dtype=torch.bool, device=device)
    for row, (prompt, completion) in enumerate(rows):
        end = len(prompt) + len(completion)
        tokens[row, :end] = torch.tensor([*prompt, *completion], device=device)
        sampled[row, len(prompt) : end] = True
    return {"input_ids": tokens, "sampled": sampled}
