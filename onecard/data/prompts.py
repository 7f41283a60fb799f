"""How a problem is put to a model, in training and in evaluation alike.

As chat messages, as the text that the model's chat template makes of them, as tokens.
"""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from onecard.data.section import Data
from onecard.types import Problem, UserError
from rewards.answer.markers import marked
from rewards.answer.section import AnswerFormat

Messages = list[dict[str, str]]


def prompt_for(problem: Problem, system_prompt: str | None) -> Messages:
    """The chat messages that a problem is put with."""
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return [*system, {"role": "user", "content": problem.question}]


def target_for(problem: Problem, answer_format: AnswerFormat) -> Messages:
    """The completion that SFT trains on: the solution in a think block, then the marked gold."""
    text = f"<think>{problem.solution}</think>{marked(problem.gold, answer_format)}"
    return [{"role": "assistant", "content": text}]


def render(tokenizer: Any, messages: Messages) -> str:
    """The text that the model continues.

    Raises UserError where the model has no chat template, or where that refuses the messages.
    """
    if tokenizer.chat_template is None:
        raise UserError(
            "this model has no chat template, so it cannot be asked as training asks: use its"
            " instruct version; `python -m eval --shots 8` asks a base model in plain text"
        )
    try:
        text: str = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
    except TemplateError as error:
        remedy = ""
        if len(messages) > 1:
            remedy = (
                "; with data.system_prompt=null there is none, and data.path's questions can say"
                " it instead"
            )
        raise UserError(
            f"this model's chat template refuses the messages: {error}; some take no system"
            f" prompt{remedy}"
        ) from None
    return text


def tokenize(tokenizer: Any, texts: list[str], special_tokens: bool = False) -> list[list[int]]:
    """Each text's tokens.

    A chat template writes its special tokens itself; `special_tokens` adds the tokenizer's own, for
    plain text.
    """
    encoded = tokenizer(texts, add_special_tokens=special_tokens, verbose=False)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def drop_long_prompts(
    problems: Sequence[Problem], tokenizer: Any, data: Data, prompts_per_step: int
) -> list[Problem]:
    """The problems whose prompt has at most data.max_prompt_length tokens.

    TRL itself never shortens a prompt. Raises UserError where too few are left for one step.
    """
    texts = [render(tokenizer, prompt_for(problem, data.system_prompt)) for problem in problems]
    lengths = [len(tokens) for tokens in tokenize(tokenizer, texts)]
    usable = [
        problem
        for problem, length in zip(problems, lengths, strict=True)
        if length <= data.max_prompt_length
    ]
    if len(usable) < prompts_per_step:
        raise UserError(
            f"data.max_prompt_length {data.max_prompt_length}: {len(usable)} of {len(problems)}"
            f" training prompts are that short, but one step needs {prompts_per_step}; the longest"
            f" has {max(lengths)} tokens"
        )
    return usable


def opens_think(tokenizer: Any, system_prompt: str | None) -> bool:
    """Whether the chat template itself writes <think> at the end of a prompt.

    Completions then start inside the block.
    """
    messages = prompt_for(Problem("", "What is 1 + 1?", "2"), system_prompt)
    return render(tokenizer, messages).rstrip().endswith("<think>")
