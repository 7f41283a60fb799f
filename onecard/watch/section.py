"""The recipe's `health:`: what a person would change of the health checks.

All other limits are constants beside their check, each with its source. "Assumed" is a limit that
no source gives; those were tried on the tiny recipe and its controls.
"""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from onecard.section import Count, Positive, Section, Share, did_you_mean
from onecard.watch.alarm import MAY_STOP


def known_alarm(name: str) -> str:
    """The name as it is. Raises ValueError, with the nearest alarm's, where it is none."""
    if name not in MAY_STOP:
        raise ValueError(
            f"no alarm {name!r}{did_you_mean(name, MAY_STOP)}; there are: {', '.join(MAY_STOP)}"
        )
    return name


class Health(Section):
    """`stop_on` names alarms that end the training early.

    Adapter, evaluation and report are made all the same.
    """

    stop_on: list[Annotated[str, AfterValidator(known_alarm)]] = Field(
        default=["sampling_drift", "skipped_steps"]
    )
    # Unsloth's GRPO notebooks: it may take 150 to 200 steps until anything is seen.
    flat_warn_steps: Count = 200
    flat_alarm_steps: Count = 300  # Unsloth's GRPO guide: train for at least 300 steps
    # Nats a token; assumed. The tiny recipe, which learns, stays below 0.1.
    kl_warn: Positive = 10.0
    kl_alarm: Positive = 20.0
    clipped_ratio: Share = 0.3  # of completions, cut at the limit; assumed
    # Of dev accuracy, below its best; assumed: 64 dev problems have a standard error of 0.06.
    accuracy_fall: Share = 0.1
    skipped_steps: Count = 10  # in a row; assumed
    # First steps that the watch on memory leaves out: on a CPU the allocator fills up for 80 or so
    # (LOG.md); assumed.
    memory_settles: Count = 100

    @model_validator(mode="after")
    def check(self) -> "Health":
        for lower, upper in (("kl_warn", "kl_alarm"), ("flat_warn_steps", "flat_alarm_steps")):
            low, high = getattr(self, lower), getattr(self, upper)
            if low > high:
                raise ValueError(
                    f"{lower} {low} is more than {upper} {high}; raise that or lower this"
                )
        return self
