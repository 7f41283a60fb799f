"""Texts of 100,000 characters that a careless reader of answers would need seconds for."""

HOSTILE = [
    "<answer>" * 12_000, "<answer>9" * 10_000, "<answer>9</answer>" * 5_500, "\\boxed{" * 14_000, "#### " * 20_000, "#### 1\n" * 14_000,
    "<answer>" + "9" * 99_000 + "</answer>", "<answer>" + "9^" * 49_000 + "9</answer>", "<answer>" + "a " * 49_000 + "</answer>",
    "\\boxed{" + "{,}" * 33_000 + "}", "\\boxed{" + "{" * 99_000, "<think>" * 14_000, "</think>" * 12_000, "\x00" * 100_000,
    "\ud800" * 100_000, "<answer>" + "1," * 140 + "</answer>", "<answer>" + "$" * 290 + "</answer>", "<answer>" + "<<" * 140 + "</answer>",
    "\n" * 100_000, " \n" * 50_000, "\t" * 100_000, "1 " * 50_000, "1 = " * 25_000, "so " * 33_000, "let me re" * 11_000,
    "step 1 " * 14_000,
]  # fmt: skip
