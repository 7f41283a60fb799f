"""The recipe's `data:`."""

from onecard.section import Count, Section


class Data(Section):
    """`path`: a folder with train.jsonl and test.jsonl, or `tiny`, the synthetic set.

    Where that folder is absent, the data set `hub_id` is fetched instead.
    """

    path: str
    hub_id: str | None = None
    hub_config: str | None = None
    train_problems: Count = 3000  # how many the synthetic set makes; a real set is used whole
    system_prompt: str | None = None
    max_prompt_length: Count  # tokens; longer training prompts are left out, and counted aloud
