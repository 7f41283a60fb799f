"""Does the engine that samples hold the weights that are trained? By how far their log-probabilities of the same tokens are apart."""

from onecard.types import RunFailed

LOGGED_AS = "sampling/sampling_logp_difference/mean"  # by TRL, with vLLM alone; nats, mean over the sampled tokens
LARGEST = 0.5  # nats; kernels that round differently make some hundredths. Assumed: no run on a card has shown it yet
STEPS = 3


def count_drift(before: int, drift: float | None) -> int:
    """How many steps in a row have drifted, `before` of them before this one. Raises RunFailed at the third: that is another model."""
    if drift is None or not drift > LARGEST:
        return 0
    if before + 1 == STEPS:
        raise RunFailed(
            f"for {STEPS} steps vLLM's log-probabilities have differed from the trainer's by more than {LARGEST} nats a token "
            f"({drift:.2f} in the last): it is not sampling with the adapter that is trained, or not with its weights"
        )
    return before + 1
