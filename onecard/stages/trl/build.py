"""Builds the trainers of a run: data, rewards, callbacks, and what this house changes in them."""

from collections.abc import Callable
from typing import Any

import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
import torch
from datasets import Dataset
from transformers import PrinterCallback

from onecard.data.prompts import opens_think, prompt_for, target_for
from onecard.model.engines.vllm_requests import seed_requests
from onecard.model.policy import Policy
from onecard.model.unsloth_private_names import hand_over_adapter, is_generated_config
from onecard.stages.training import Training
from onecard.stages.trl.callback import GrpoSteps, SftSteps
from onecard.stages.trl.config import build_grpo_config, build_sft_config
from onecard.stages.trl.rewards import PROBLEM_ID, RewardColumns
from onecard.stages.trl.timing import time_parts
from onecard.stages.trl.trainers import OnecardGrpoTrainer, OnecardSftTrainer
from onecard.watch.clock import StepClock


def build_grpo_trainer(
    training: Training, policy: Policy, steps: GrpoSteps, clock: StepClock
) -> OnecardGrpoTrainer:
    """GRPO on the run's problems, with `steps` around each step, timed by `clock`."""
    config = build_grpo_config(training)
    config.use_vllm = policy.adapter_folder is not None  # not so where a recipe does without it
    system_prompt = training.data.system_prompt
    columns = RewardColumns(
        training.scorer,
        training.problems,
        policy.tokenizer,
        policy.end_tokens,
        opens_think(policy.tokenizer, training.problems[0], system_prompt),
        config.num_generations,
    )
    rows = [
        {"prompt": prompt_for(problem, system_prompt), PROBLEM_ID: problem.id}
        for problem in training.problems
    ]
    trainer = OnecardGrpoTrainer(
        model=policy.model,
        processing_class=policy.tokenizer,
        reward_funcs=columns.functions(),
        args=config,
        train_dataset=Dataset.from_list(rows),
        callbacks=[steps],
    )
    trainer.columns = columns
    if is_generated_config(config):
        cut_scoring(trainer, config.per_device_train_batch_size)
    time_parts(trainer, clock)
    if config.use_vllm:
        hand_over_adapter(trainer.vllm_generation, policy.live_adapter)
        engine = policy.model.vllm_engine
        seed_requests(engine, training.seed, lambda: trainer.state.global_step)
    steps.attach(trainer)
    trainer.remove_callback(PrinterCallback)  # our progress display says it better
    return trainer


def build_sft_trainer(training: Training, policy: Policy, steps: SftSteps) -> OnecardSftTrainer:
    """SFT on the problems' own solutions; the loss is on the completion alone."""
    assert training.sections.sft is not None
    system_prompt, answer_format = training.data.system_prompt, training.answer.format
    rows = [
        {
            "prompt": prompt_for(problem, system_prompt),
            "completion": target_for(problem, answer_format),
        }
        for problem in training.problems
    ]
    trainer = OnecardSftTrainer(
        model=policy.model,
        processing_class=policy.tokenizer,
        args=build_sft_config(training, training.sections.sft),
        train_dataset=Dataset.from_list(rows),
        callbacks=[steps],
    )
    steps.attach(trainer)
    trainer.remove_callback(PrinterCallback)
    return trainer


def cut_scoring(trainer: Any, rows: int) -> None:
    """Have Unsloth's trainer score completions as many at a time as it trains."""
    name = "_get_per_token_logps_and_entropies"
    setattr(trainer, name, in_parts(getattr(trainer, name), rows))


def in_parts(score: Callable[..., Any], rows: int) -> Callable[..., Any]:
    """Unsloth's scoring of completions before a step, `rows` at a time, packed as in training.

    By itself it scores as many at once as it expects the free memory to hold, and does not count
    what the MLP takes (docs/memory.md).
    """

    def scored(
        model: Any,
        input_ids: torch.Tensor,  # (B, T) prompts and completions
        attention_mask: torch.Tensor,  # (B, T)
        *arguments: Any,
        **named: Any,
    ) -> Any:
        if len(input_ids) <= rows:
            return score(model, input_ids, attention_mask, *arguments, **named)
        parts = zip(input_ids.split(rows), attention_mask.split(rows), strict=True)
        # (rows, at least the longest completion) each
        found = [score(model, ids, mask, *arguments, **named)[0] for ids, mask in parts]
        # A part with shorter padding before its prompts is narrower.
        width = max(logps.size(1) for logps in found)
        padded = [torch.nn.functional.pad(logps, (width - logps.size(1), 0)) for logps in found]
        return torch.cat(padded), None, None

    return scored
