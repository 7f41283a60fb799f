"""The alarms and the metrics of this house by name, for whoever needs no more than that."""

from onecard.types import Verdict

# Those that a recipe may let end a training. `loss_near_zero` is missing: it is an explanation.
MAY_STOP = (
    "reward_flat",
    "no_signal",
    "kl",
    "entropy_collapse",
    "completions_cut",
    "format_unpaid",
    "adapter_unchanged",
    "grad_spikes",
    "accuracy_falls",
    "overfitting",
    "reward_hacking",
    "pass_at_g_flat",
    "memory_climbs",
    "sampling_drift",
    "skipped_steps",
)

# Keys of metrics.jsonl that more than one file reads or writes.
ANSWERS = {verdict: f"answers/{verdict}" for verdict in Verdict}  # shares of a step's completions
CORRECT = ANSWERS[Verdict.CORRECT]
PASS_AT_G = "rewards/pass@G"  # share of its groups with at least one right completion
SIGNAL_SHARE = "rewards/signal_share"  # share of its groups that are not paid alike
FORMAT_PAID = "rewards/format_paid"  # share of completions that the least paid layout reward pays
DRIFT = "sampling/drift"  # nats a token between vLLM's log-probabilities and the trainer's
SKIPPED, SKIPPED_IN_A_ROW = "steps/skipped", "steps/skipped_in_a_row"
LORA_B_NORM, MEMORY = "adapter/lora_b_norm", "memory/gib"
