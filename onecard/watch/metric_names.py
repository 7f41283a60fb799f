"""The keys of metrics.jsonl that more than one file reads or writes."""

from onecard.types import Verdict

ANSWERS = {verdict: f"answers/{verdict}" for verdict in Verdict}  # shares of a step's completions
CORRECT = ANSWERS[Verdict.CORRECT]
PASS_AT_G = "rewards/pass@G"  # share of its groups with at least one right completion
SAME_TEXT = "rewards/same_text"  # share of its groups whose completions are all the same text
PAID_ALIKE = "rewards/paid_alike"  # share of its groups with different texts that are paid alike
SIGNAL_SHARE = "rewards/signal_share"  # share of its groups that are not paid alike
FORMAT_PAID = "rewards/format_paid"  # share of completions that the least paid layout reward pays
DRIFT = "sampling/drift"  # nats a token between vLLM's log-probabilities and the trainer's
REJECTED = "sampling/rejected"  # share of tokens that the correction for that drift leaves out
SKIPPED, SKIPPED_IN_A_ROW = "steps/skipped", "steps/skipped_in_a_row"
MODEL_SCORE = "reward_model/mean"  # of a step's completions, before it is normalised
MODEL_NUMBER = "reward_model/number"  # which model it was; from the second on
LORA_B_NORM, MEMORY = "adapter/lora_b_norm", "memory/gib"
