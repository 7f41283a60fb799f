"""The private names of TRL and transformers: all that this house uses of them, in one place.

tests/test_private_names.py proves that each is in the locked packages, and in the trainer that
Unsloth generates for CUDA. An update that takes one away fails there, and not in step 1 on a card.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PrivateName:
    """`of`: the class that has it. `since`: seen from this version on."""

    name: str
    of: str
    why: str
    since: str


TRL, TRANSFORMERS = "trl 1.15.0", "transformers 5.17.0"

# A log line's name for how far vLLM's log-probabilities are from the trainer's: nats, mean over
# the sampled tokens.
TRL_DRIFT = "sampling/sampling_logp_difference/mean"

# Its name for the share of tokens that the correction for that drift leaves out: Unsloth's trainer
# alone measures it.
TRL_REJECTED = "sampling/importance_sampling_rejected_frac"

NAMES = (
    # Read or set through the functions below.
    PrivateName("_logs", "GRPOTrainer", "advantages of the last batch; no public name", TRL),
    PrivateName("_metrics", "GRPOTrainer", "metrics that go into the next log line", TRL),
    PrivateName(
        "_step", "GRPOTrainer", "micro-steps, by which it tells when to generate anew", TRL
    ),
    PrivateName("_buffered_inputs", "GRPOTrainer", "the micro-batches of a step, shuffled", TRL),
    # Wrapped in build.py; the last of them is overridden in grpo_trainer.py too. The first two are
    # called for dynamic sampling.
    PrivateName("_generate", "GRPOTrainer", "prompts to completions: timed", TRL),
    PrivateName("_calculate_rewards", "GRPOTrainer", "completions to rewards: timed", TRL),
    PrivateName(
        "_get_per_token_logps_and_entropies",
        "GRPOTrainer",
        "on a card cut into parts, to take no more memory than a step; on a CPU our own",
        TRL,
    ),
    # Overridden in grpo_trainer.py.
    PrivateName(
        "_generate_and_score_completions", "GRPOTrainer", "puts another credit in its place", TRL
    ),
    PrivateName("_generate_single_turn", "GRPOTrainer", "our own engine on a CPU", TRL),
    PrivateName("_prepare_inputs", "GRPOTrainer", "puts a prompt's completions together", TRL),
    PrivateName("_get_train_sampler", "GRPOTrainer", "the order of prompts, by epoch alone", TRL),
    # Overridden in trainers.py: where transformers would unpickle a checkpoint, ours is read.
    PrivateName("_load_from_checkpoint", "Trainer", "reads our weights", TRANSFORMERS),
    PrivateName("_load_optimizer_and_scheduler", "Trainer", "reads our state", TRANSFORMERS),
    PrivateName("_load_scaler", "Trainer", "done with the optimizer", TRANSFORMERS),
    PrivateName("_load_rng_state", "Trainer", "puts our random states", TRANSFORMERS),
)


def last_advantages(trainer: Any) -> list[float]:
    """The advantage of each completion of the last batch, in the order of the rewards."""
    return list(trainer._logs["advantages"])


def put_advantages(trainer: Any, values: list[float]) -> None:
    """Have these stand for the last batch where TRL shows advantages."""
    logged = trainer._logs["advantages"]
    for _ in values:
        logged.pop()
    logged.extend(values)


def add_metric(trainer: Any, name: str, value: float) -> None:
    """Have a number in the trainer's next log line."""
    trainer._metrics["train"][name].append(value)


def copy_metrics(trainer: Any) -> dict[str, dict[str, list[Any]]]:
    """What was measured since the last log line."""
    return {
        mode: {name: list(values) for name, values in found.items()}
        for mode, found in trainer._metrics.items()
    }


def put_metrics(trainer: Any, kept: dict[str, dict[str, list[Any]]]) -> None:
    """Forget what was measured since copy_metrics()."""
    for mode, found in trainer._metrics.items():
        found.clear()
        found.update(kept[mode])


def generate_and_score(trainer: Any, rows: list[dict[str, Any]]) -> tuple[tuple[Any, ...], Any]:
    """What the trainer generates for rows of its training set, and (B, rewards) what that earns."""
    prompts = [row["prompt"] for row in rows]
    generated = trainer._generate(prompts)
    completion_ids, completions = generated[1], generated[3]
    return generated, trainer._calculate_rewards(rows, prompts, completions, completion_ids)


@contextmanager
def answering(trainer: Any, generated: tuple[Any, ...], rewards: Any) -> Iterator[None]:
    """Have the trainer find these inside, where it would generate and score."""
    own = trainer._generate, trainer._calculate_rewards
    trainer._generate = lambda prompts: generated
    trainer._calculate_rewards = lambda rows, prompts, completions, completion_ids: rewards
    try:
        yield
    finally:
        trainer._generate, trainer._calculate_rewards = own


def micro_steps(trainer: Any) -> int:
    return int(trainer._step)


def put_micro_steps(trainer: Any, count: int) -> None:
    trainer._step = count


def micro_batches(trainer: Any) -> list[dict[str, Any]] | None:
    """What the last completions were made into; None before the first."""
    made: list[dict[str, Any]] | None = trainer._buffered_inputs
    return made


def put_micro_batches(trainer: Any, batches: list[dict[str, Any]]) -> dict[str, Any]:
    """Have a step train on these; the one that is next."""
    trainer._buffered_inputs = batches
    return batches[micro_steps(trainer) % len(batches)]


def is_whole(trainer: Any) -> bool:
    """Whether the completions of the last step have served all their iterations."""
    per_batch = trainer.args.steps_per_generation * trainer.num_iterations
    return micro_steps(trainer) % per_batch == 0
