"""Builds the trainer of GRPO: data, rewards, callbacks, and what this house changes in it."""

import json
from collections.abc import Callable
from typing import Any

import onecard.model.load  # noqa: F401  isort: skip  (unsloth, which must come before trl)
import torch
from datasets import Dataset
from transformers import PrinterCallback

from onecard.data.difficulty import levels_of
from onecard.data.prompts import opens_think, prompt_for
from onecard.model.adapter import forget_reference
from onecard.model.engines.vllm_requests import seed_requests
from onecard.model.policy import Policy
from onecard.model.unsloth_private_names import hand_over_adapter, is_generated_config
from onecard.run.round import Round
from onecard.stages.choosing import ByPassRate, Choice, InTurn
from onecard.stages.training import Training
from onecard.stages.trl.callback import GrpoSteps
from onecard.stages.trl.config import build_grpo_config
from onecard.stages.trl.grpo_trainer import OnecardGrpoTrainer
from onecard.stages.trl.rewards import PROBLEM_ID, RewardColumns
from onecard.stages.trl.timing import time_parts
from onecard.watch.clock import StepClock


def build_grpo_trainer(
    training: Training, one: Round, policy: Policy, steps: GrpoSteps, clock: StepClock
) -> OnecardGrpoTrainer:
    """GRPO on the run's problems, with `steps` around each step, timed by `clock`."""
    config = build_grpo_config(training, one)
    config.use_vllm = policy.adapter_folder is not None  # not so where a recipe does without it
    system_prompt = training.data.system_prompt
    columns = RewardColumns(
        training.scorer,
        training.problems,
        policy.tokenizer,
        policy.end_tokens,
        opens_think(policy.tokenizer, training.problems[0], system_prompt),
        config.num_generations,
        first_place=one.steps_before * training.sections.sampled_at_once,
    )
    forget_reference(policy.model)  # of an earlier round, or of another stage
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
    assert training.sections.grpo is not None
    trainer.columns, trainer.section = columns, training.sections.grpo
    trainer.choice = build_choice(training, one)
    trainer.rows = dict(zip(columns.problems, rows, strict=True))
    if is_generated_config(config):
        cut_scoring(trainer, config.per_device_train_batch_size)
    time_parts(trainer, clock)
    if config.use_vllm:
        hand_over_adapter(trainer.vllm_generation, policy.live_adapter)
        engine = policy.model.vllm_engine
        seed_requests(engine, config.seed, lambda: trainer.state.global_step)
    steps.attach(trainer)
    trainer.remove_callback(PrinterCallback)  # our progress display says it better
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


def build_choice(training: Training, one: Round) -> Choice | None:
    """How dynamic sampling chooses problems; None without it."""
    grpo = training.sections.grpo
    assert grpo is not None
    dynamic, seed = grpo.dynamic_sampling, training.seed_of(one)
    if dynamic is None:
        return None
    if dynamic.choose == "in_turn":
        return InTurn([problem.id for problem in training.problems], seed)
    levels = levels_of(training.problems, training.data.difficulty)
    choice = ByPassRate(levels, grpo.num_generations, seed, dynamic.floor)
    if training.choice:  # of the round before
        choice.go_on_from(training.choice)
    elif one.number == 1 and training.run.pilot.is_file():  # asked with the policy as it begins
        pilot = json.loads(training.run.pilot.read_text(encoding="utf-8"))
        choice.begin_with(pilot.get("groups", ()))
    return choice
