"""How a problem is put to a model, in training and in evaluation alike.

As chat messages, as the text that the model's chat template makes of them, as tokens.
"""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from onecard.data.section import Data
from onecard.types import Problem, UserError
from rewards.answer.kinds.table import KINDS
from rewards.answer.section import AnswerFormat

Prompt = str | list[dict[str, str]]  # plain text, or chat messages


def prompt_for(problem: Problem, system_prompt: str | None) -> Prompt:
    """What a problem is put with: chat messages, unless its row has a prompt of plain text.

    The system prompt goes before messages that have none of their own.
    """
    if isinstance(problem.prompt, str):
        return problem.prompt
    question = {"role": "user", "content": problem.question}
    messages = [dict(message) for message in problem.prompt or (question,)]
    if system_prompt and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system_prompt}, *messages]
    return messages


def target_for(problem: Problem, answer_format: AnswerFormat) -> Prompt:
    """The completion that SFT trains on: the solution in a think block, then the marked gold.

    It has the form of the problem's prompt. Without a right answer it is the solution alone.
    """
    text = problem.solution
    if problem.kind != "none":
        kind = KINDS[problem.kind]
        answer = kind.marked(kind.answer_of(problem) or "", answer_format)
        working = "" if kind.solution_is_answer else f"<think>{problem.solution}</think>"
        text = f"{working}{answer}"
    if isinstance(problem.prompt, str):
        return text
    return [{"role": "assistant", "content": text}]


def conversation_of(
    problem: Problem, system_prompt: str | None, answer_format: AnswerFormat
) -> list[dict[str, str]]:
    """A problem and its solution as one chat."""
    turns = prompt_for(problem, system_prompt), target_for(problem, answer_format)
    roles = ("user", "assistant")
    found: list[dict[str, str]] = []
    for role, turn in zip(roles, turns, strict=True):
        found += [{"role": role, "content": turn}] if isinstance(turn, str) else turn
    return found


def render(tokenizer: Any, messages: Prompt) -> str:
    """The text that the model continues; plain text is that already.

    Raises UserError where the model has no chat template, or where that refuses the messages.
    """
    if isinstance(messages, str):
        return messages
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


def prompt_tokens(tokenizer: Any, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Each prompt's tokens, as TRL makes them too. All are chat messages, or all are text."""
    texts = [render(tokenizer, prompt) for prompt in prompts]
    return tokenize(tokenizer, texts, special_tokens=isinstance(prompts[0], str))


def drop_long_prompts(
    problems: Sequence[Problem], tokenizer: Any, data: Data, prompts_per_step: int
) -> list[Problem]:
    """The problems whose prompt has at most data.max_prompt_length tokens.

    TRL itself never shortens a prompt. Raises UserError where too few are left for one step.
    """
    prompts = [prompt_for(problem, data.system_prompt) for problem in problems]
    lengths = [len(tokens) for tokens in prompt_tokens(tokenizer, prompts)]
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


def opens_think(tokenizer: Any, problem: Problem, system_prompt: str | None) -> bool:
    """Whether <think> stands at the end of a problem's prompt, as some chat templates write it.

    Completions then start inside the block.
    """
    return render(tokenizer, prompt_for(problem, system_prompt)).rstrip().endswith("<think>")
