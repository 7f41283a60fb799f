"""On-policy distillation, by TRL's GKDTrainer.

TRL's stable DistillationTrainer computes the same loss with a Triton kernel, which no CPU has.
"""

import os
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from statistics import fmean
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # its notice says nothing new

import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
import torch
from datasets import Dataset
from trl.experimental.gkd import GKDConfig, GKDTrainer

from onecard.model.engines.generation import one_batch
from onecard.model.engines.on_cpu import quick
from onecard.model.policy import Policy
from onecard.model.teacher import load_teacher
from onecard.run.library_output import redirect_libraries
from onecard.run.round import Round
from onecard.stages.sections.distill import Distill
from onecard.stages.training import Training
from onecard.stages.trl.config import settings_of
from onecard.stages.trl.plain import PlainSteps, train_round
from onecard.stages.trl.trainers import Resumable
from onecard.types import Completion, Sampling

NO_LOSS = -100  # the label of a place that is no token of a completion


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
            model=policy.model,
            teacher_model=teacher,
            processing_class=policy.tokenizer,
            args=config,
            data_collator=partial(pad_left, padding=policy.tokenizer.pad_token_id),
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

    All completions of a step are generated at once, by our own engine, and the loss is the mean
    over their tokens. TRL counts the tokens of the data set's completions in their place.
    """

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | None]:
        """A step's micro-batches, each with what the policy answers now, and their tokens."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not batches:
            return batches, None
        answered = iter(self.answer([ids for batch in batches for ids in unpadded(batch)]))
        for batch in batches:
            completions = [next(answered).ids for _ in batch["input_ids"]]
            append(batch, completions, self.processing_class.pad_token_id)
        tokens = [(batch["labels"] != NO_LOSS).sum() for batch in batches]
        return batches, torch.stack(tokens).sum()

    def answer(self, prompts: list[list[int]]) -> list[Completion]:
        """The policy's completions, in the order of their prompts."""
        completions = one_batch(
            self.accelerator.unwrap_model(self.model_wrapped),
            self.processing_class,
            prompts,
            Sampling(self.args.max_new_tokens, len(prompts), self.temperature),
            # Of the step: transformers puts torch's random state back only after this.
            seed=zlib.crc32(f"{self.args.seed} {self.state.global_step}".encode()),
            leave=True,
        )
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
        labels = inputs["labels"]  # (B, C)
        asked = {
            "input_ids": inputs["input_ids"],  # (B, P + C)
            "attention_mask": inputs["attention_mask"],
            "logits_to_keep": labels.size(1) + 1,
        }
        with self.forward_pass(model):
            student = model(**asked).logits[:, :-1].float()  # (B, C, vocabulary)
        with quick(self.teacher_model, training=True), torch.no_grad():
            teacher = self.teacher_model(**asked).logits[:, :-1].float()
        loss: torch.Tensor = self.generalized_jsd_loss(
            student,
            teacher,
            labels,
            beta=self.beta,
            temperature=self.temperature,
            num_items_in_batch=num_items_in_batch,
        )
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log(logs | self.measured if "loss" in logs else logs, start_time)


def pad_left(rows: Sequence[dict[str, list[int]]], padding: int) -> dict[str, torch.Tensor]:
    """A micro-batch's prompts: (B, P) tokens and mask."""
    prompts = [row["prompt_ids"] for row in rows]
    width = max(map(len, prompts))
    ids = [[padding] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def unpadded(batch: dict[str, torch.Tensor]) -> list[list[int]]:
    """The prompts of a micro-batch."""
    rows = zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True)
    return [ids[seen].tolist() for ids, seen in rows]


def append(
    batch: dict[str, torch.Tensor], completions: Sequence[tuple[int, ...]], padding: int
) -> None:
    """Put completions after the prompts of a micro-batch, with (B, C) labels beside them."""
    width = max(map(len, completions))
    ids = [list(one) + [padding] * (width - len(one)) for one in completions]
    seen = [[1] * len(one) + [0] * (width - len(one)) for one in completions]
    labels = [list(one) + [NO_LOSS] * (width - len(one)) for one in completions]
    device = batch["input_ids"].device
    for name, more in (("input_ids", ids), ("attention_mask", seen)):
        batch[name] = torch.cat([batch[name], torch.tensor(more, device=device)], dim=1)
    batch["labels"] = torch.tensor(labels, device=device)
