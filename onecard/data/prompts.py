"""How a problem is put to a model: as chat messages, as the text its chat template makes of them,
as tokens. The same everywhere.
"""

from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from onecard.types import Sample, UserError
from rewards.answer import marked

if TYPE_CHECKING:
    from onecard.recipe import Recipe


def prompt_for(sample: Sample, system_prompt: str | None) -> list[dict[str, str]]:
    """The chat messages that a problem is put with, in training and in evaluation alike."""
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return [*system, {"role": "user", "content": sample.question}]


def target_for(sample: Sample, recipe: "Recipe") -> list[dict[str, str]]:
    """The warm-up's completion: the sample's solution in the think block, then its gold, marked as
    the recipe's rewards read it.
    """
    text = f"<think>{sample.solution}</think>{marked(sample.gold, recipe.answer_format)}"
    return [{"role": "assistant", "content": text}]


def render(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    """The text that the model continues. Raises UserError where the model has no chat template, or
    it refuses the messages.
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
        remedy = (
            "; with data.system_prompt=null there is none, and data.path's questions can say it"
            " instead"
            if len(messages) > 1
            else ""
        )
        raise UserError(
            f"this model's chat template refuses the messages: {error}; some take no system"
            f" prompt{remedy}"
        ) from None
    return text


def tokenize(tokenizer: Any, texts: list[str], special_tokens: bool = False) -> list[list[int]]:
    """Each text's tokens. A chat template writes its special tokens itself; `special_tokens` adds
    the tokenizer's to plain text.
    """
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=special_tokens, verbose=False)[
        "input_ids"
    ]
    return ids
