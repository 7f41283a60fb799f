"""Puts a clock into a trainer. Imports neither trl nor unsloth: benches time stock trainers too."""

from typing import Any

from onecard.watch.clock import StepClock


def time_parts(trainer: Any, clock: StepClock) -> None:
    """Have a clock count the parts of a GRPO trainer's steps.

    Of TRL's own, or of the one that Unsloth generates for CUDA: their methods have the same names.
    """
    generate, calculate_rewards = trainer._generate, trainer._calculate_rewards

    def timed_generate(*arguments: Any, **named: Any) -> Any:
        with clock.part("generation"):
            result = generate(*arguments, **named)
        completion_ids = result[1]
        clock.tokens += sum(map(len, completion_ids))
        return result

    def timed_rewards(*arguments: Any, **named: Any) -> Any:
        with clock.part("reward"):
            return calculate_rewards(*arguments, **named)

    trainer._generate, trainer._calculate_rewards = timed_generate, timed_rewards
