"""Tries the largest step that a recipe admits before the first one, so that memory runs out in the
first minute or not at all.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from onecard.card.memory import how_to_save
from onecard.console.display import Display
from onecard.policy import redirect_output
from onecard.recipe import Recipe
from onecard.types import UserError

if TYPE_CHECKING:
    from onecard.trainer import ResumableTrainer


class TryWorstCase(TrainerCallback):
    """One micro-batch forward and backward, with prompts and completions of full length; nothing
    else in a step takes as much. Training goes on as if it had not been."""

    trainer: "ResumableTrainer"  # set by build_trainer

    def __init__(self, recipe: Recipe, display: Display, folder: Path) -> None:
        self.recipe, self.display, self.folder = recipe, display, folder
        self.tried = False

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.tried:
            return
        self.tried = True
        metrics = {
            mode: {name: list(values) for name, values in found.items()}
            for mode, found in self.trainer._metrics.items()
        }
        device = self.trainer.model.device
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        known = set(vars(model))
        self.trainer.step_time.tell_card("training")
        try:
            with (
                redirect_output(self.folder),
                torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            ):
                self.trainer.accelerator.backward(
                    self.trainer.compute_loss(
                        self.trainer.model, largest_batch(self.recipe, self.trainer)
                    )
                )
        except (RuntimeError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(
                error
            ):  # on a card, or on a CPU
                raise UserError(self.advice()) from None
            # A trainer whose batches look different: better told than refused.
            self.display.say(
                f"the largest step could not be tried before the first: {type(error).__name__}:"
                f" {error}"
            )
        finally:
            self.trainer.model.zero_grad()
            # Unsloth holds its packed forward against a plain one, once for each size. Of tokens
            # that are all alike it would believe any.
            for name in set(vars(model)) - known:
                if name.startswith("_unsloth_"):
                    delattr(model, name)
            for mode, found in self.trainer._metrics.items():
                found.clear()
                found.update(metrics[mode])
            if device.type == "cuda":
                torch.cuda.empty_cache()

    def advice(self) -> str:
        grpo = self.recipe.grpo
        return (
            f"memory does not hold this recipe's largest step: {grpo.per_device_train_batch_size}"
            f" completions of {grpo.max_completion_length} tokens after prompts of"
            f" {self.recipe.data.max_prompt_length}. {how_to_save(self.recipe)}"
        )


def largest_batch(recipe: Recipe, trainer: "ResumableTrainer") -> dict[str, torch.Tensor]:
    """A micro-batch as TRL makes it: prompts and completions as long as the recipe allows, and
    nothing to learn from.
    """
    device, rows = trainer.model.device, recipe.grpo.per_device_train_batch_size
    prompt, completion = recipe.data.max_prompt_length, recipe.grpo.max_completion_length
    # any but padding, which Unsloth leaves out
    token = 1 if trainer.processing_class.pad_token_id == 0 else 0
    batch = {
        "prompt_ids": torch.full((rows, prompt), token, device=device),
        "prompt_mask": torch.ones((rows, prompt), dtype=torch.long, device=device),
        "completion_ids": torch.full((rows, completion), token, device=device),
        "completion_mask": torch.ones((rows, completion), dtype=torch.long, device=device),
        "advantages": torch.zeros(rows, device=device),
        "num_items_in_batch": torch.tensor(rows * completion, device=device),
    }
    if trainer.beta:
        batch["ref_per_token_logps"] = torch.zeros((rows, completion), device=device)
    if trainer.use_vllm:
        batch["old_per_token_logps"] = torch.zeros((rows, completion), device=device)
        batch["sampling_per_token_logps"] = torch.zeros((rows, completion), device=device)
        batch["importance_sampling_ratio"] = torch.ones((rows, completion), device=device)
    return batch
