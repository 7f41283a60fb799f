"""The largest step that a recipe admits, tried before the first.

So memory runs out in the first minute or not at all.
"""

from typing import Any

import torch

from onecard.data.section import Data
from onecard.model.unsloth_private_names import forget_packing_checks
from onecard.run.library_output import redirect_output
from onecard.stages.sections.grpo import Grpo
from onecard.stages.training import Training
from onecard.stages.trl.private_names import copy_metrics, put_metrics
from onecard.types import UserError
from onecard.watch.clock import StepClock


def try_largest_step(trainer: Any, training: Training, clock: StepClock) -> None:
    """One micro-batch forward and backward, with prompts and completions of full length.

    Nothing else in a step takes as much. Training goes on as if it had not been. Raises UserError
    where memory does not hold it.
    """
    grpo, data = training.sections.grpo, training.data
    assert grpo is not None
    metrics = copy_metrics(trainer)
    device = trainer.model.device
    on_card = device.type == "cuda"
    model = trainer.accelerator.unwrap_model(trainer.model)
    known = set(vars(model))
    clock.tell_card("training")
    try:
        devices = [device] if on_card else []
        with redirect_output(training.run.folder), torch.random.fork_rng(devices=devices):
            batch = largest_batch(grpo, data, trainer)
            trainer.accelerator.backward(trainer.compute_loss(trainer.model, batch))
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        # On a card, or on a CPU.
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise UserError(too_large(grpo, data, training.how_to_save)) from None
        # A trainer whose batches look different: better told than refused.
        training.display.say(
            f"the largest step could not be tried before the first: {type(error).__name__}: {error}"
        )
    finally:
        trainer.model.zero_grad()
        forget_packing_checks(model, known)
        put_metrics(trainer, metrics)
        if on_card:
            torch.cuda.empty_cache()


def too_large(grpo: Grpo, data: Data, how_to_save: str) -> str:
    return (
        "memory does not hold this recipe's largest step:"
        f" {grpo.per_device_train_batch_size} completions of {grpo.max_completion_length} tokens"
        f" after prompts of {data.max_prompt_length}. {how_to_save}"
    )


def largest_batch(grpo: Grpo, data: Data, trainer: Any) -> dict[str, torch.Tensor]:
    """A micro-batch as TRL makes it, as long as the recipe allows, with nothing to learn from."""
    device, rows = trainer.model.device, grpo.per_device_train_batch_size
    prompt, completion = data.max_prompt_length, grpo.max_completion_length
    # Any tokens but padding, which Unsloth leaves out; as many prompts as there are groups.
    padding = trainer.processing_class.pad_token_id
    tokens = [token for token in range(rows + 1) if token != padding]
    first = torch.tensor([tokens[row // grpo.num_generations] for row in range(rows)])

    def zeros() -> torch.Tensor:
        return torch.zeros((rows, completion), device=device)  # (B, C) a number a token

    batch = {
        "prompt_ids": first.to(device)[:, None].repeat(1, prompt),  # (B, P)
        "prompt_mask": torch.ones((rows, prompt), dtype=torch.long, device=device),  # (B, P)
        "completion_ids": torch.full((rows, completion), tokens[0], device=device),  # (B, C)
        "completion_mask": torch.ones((rows, completion), dtype=torch.long, device=device),
        "advantages": torch.zeros(rows, device=device),  # (B,)
        "num_items_in_batch": torch.tensor(rows * completion, device=device),
    }
    if trainer.beta:
        batch["ref_per_token_logps"] = zeros()
    if trainer.use_vllm:
        batch["old_per_token_logps"] = zeros()
        batch["sampling_per_token_logps"] = zeros()
        batch["importance_sampling_ratio"] = torch.ones((rows, completion), device=device)
    return batch
