"""Ollama's Modelfile: the chat template in Go's words, the recipe's system prompt, and the settings
that the run was evaluated with.

The Go template is derived from the model's own chat template by rendering that with marked
messages. Unsloth has templates by model name; they set a temperature of 1.5, and no table of names
knows what the tokenizer of this run writes. What a derived template cannot express is refused: a
prompt that differs from training's costs accuracy, and nobody sees why.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jinja2 import TemplateError

from onecard.recipe.schema import Recipe
from onecard.types import UserError

Messages = list[dict[str, str]]
Render = Callable[
    [Messages], str
]  # messages -> the prompt's text, with the turn of the assistant opened

MARKS = {
    "system": "a1system1z",
    "user": "a1question1z",
    "assistant": "a1answer1z",
    "next": "a1next1z",
}
# What is rendered both ways before a template is believed. Chat templates may strip a message's
# ends, so none has spaces there.
CONTENTS = (
    ("Be brief.", "What is 2 + 2?", "4", "And 3 + 3?"),
    (
        "Think\n\nin {braces} {{ twice }}",
        'Ann\'s 7 "apples"\n\n- 1\n- 2',
        "a < b & c\n#### 7",
        "<b>1,000</b> \\n %s $5",
    ),
    ("Sé breve. 数", "¿Cuánto es 2 + 3? 数字", "seis", "🦥?"),
)


@dataclass(frozen=True)
class ChatTemplate:
    """The text that a chat template writes around messages; where each piece stands is what `go`
    says.
    """

    before_system: str
    system_to_user: str
    before_user: (
        str  # at the start of a conversation without a system prompt, which may get the model's own
    )
    user_to_assistant: str  # in a conversation that goes on
    assistant_to_user: str
    user_to_completion: str  # after the last question: opens the turn that the model writes

    def render(self, messages: Messages) -> str:
        """The prompt that `go` gives, by the pieces: system or not, then questions and answers in
        turn, a question last.
        """
        system = messages[0]["content"] if messages[0]["role"] == "system" else None
        turns = [message["content"] for message in messages[system is not None :]]
        opening = (
            self.before_user
            if system is None
            else self.before_system + system + self.system_to_user
        )
        between = [self.user_to_assistant, self.assistant_to_user] * (len(turns) // 2)
        return opening + "".join(
            a + b for a, b in zip(turns, [*between, self.user_to_completion], strict=True)
        )

    @property
    def go(self) -> str:
        """As Ollama executes it, with .System the system prompts and .Messages all messages, those
        included. The pieces between questions and answers are plain text in Go's eyes, as long as
        they hold no {{; spaces and line ends in them stay."""
        last = "eq (len (slice $.Messages $index)) 1"
        return (
            f"{{{{ if .System }}}}{self.before_system}{{{{ .System }}}}{self.system_to_user}{{{{"
            f" else }}}}{self.before_user}{{{{ end }}}}"
            f'{{{{ range $index, $_ := .Messages }}}}{{{{ if eq .Role "user" }}}}{{{{ .Content }}}}'
            f"{{{{ if {last} }}}}{self.user_to_completion}{{{{ else"
            f" }}}}{self.user_to_assistant}{{{{ end }}}}"
            f'{{{{ else if eq .Role "assistant" }}}}{{{{ .Content }}}}'
            f"{{{{ if {last} }}}}{{{{ else }}}}{self.assistant_to_user}{{{{ end }}}}{{{{ end"
            " }}{{ end }}"
        )


def conversations(system: str, user: str, assistant: str, following: str) -> list[Messages]:
    """The shapes that are rendered: a question, a question with a system prompt, and both with an
    answer and a further question.
    """
    roles = zip(
        ("system", "user", "assistant", "user"), (system, user, assistant, following), strict=True
    )
    whole = [{"role": role, "content": content} for role, content in roles]
    return [whole[1:2], whole[:2], whole[1:], whole]


def derive_template(render: Render) -> ChatTemplate:
    """The pieces of a chat template. Raises UserError unless they give back all that the chat
    template writes, for other contents too.
    """
    try:
        alone, with_system, _, whole = (
            render(messages) for messages in conversations(*MARKS.values())
        )
    except TemplateError as error:  # what a chat template raises of its own will
        raise no_template(f"it refuses: {error}") from None
    template = ChatTemplate(
        before_system=between(whole, "", MARKS["system"]),
        system_to_user=between(whole, MARKS["system"], MARKS["user"]),
        before_user=between(alone, "", MARKS["user"]),
        user_to_assistant=between(whole, MARKS["user"], MARKS["assistant"]),
        assistant_to_user=between(whole, MARKS["assistant"], MARKS["next"]),
        user_to_completion=between(with_system, MARKS["user"], ""),
    )
    for contents in CONTENTS:
        for messages in conversations(*contents):
            if template.render(messages) != render(messages):
                what = " and ".join(dict.fromkeys(message["role"] for message in messages))
                raise no_template(f"it does more with {what} messages than write text around them")
    return template


def between(text: str, start: str, end: str) -> str:
    """What stands between two marks, of which "" is the text's beginning or end."""
    if any(mark and text.count(mark) != 1 for mark in (start, end)):
        raise no_template("it leaves out or repeats a message")
    after = text[text.index(start) + len(start) :] if start else text
    return after[: after.index(end)] if end else after


def no_template(why: str) -> UserError:
    return UserError(
        f"this model's chat template cannot be put as an Ollama template: {why}. --to gguf writes"
        " the file alone; llama.cpp's own `llama-server --jinja` reads the chat template in it"
    )


def modelfile(gguf: str, template: ChatTemplate, stop: list[str], recipe: Recipe) -> str:
    """The text of a Modelfile beside the file named `gguf`. Raises UserError for what its format
    cannot hold.
    """
    for piece in vars(template).values():
        if "{{" in piece:
            raise no_template("what it writes has {{ in it")
    system = recipe.data.system_prompt
    quoted = [("template", template.go), *([("system", system)] if system else [])]
    parameters: list[tuple[str, object]] = [
        ("temperature", 0),  # greedy, as evaluated
        ("repeat_penalty", 1),  # none, as evaluated; older versions of Ollama have another default
        ("num_ctx", recipe.model.max_seq_length),
        ("num_predict", recipe.eval.max_completion_length),
    ]
    parameters += [("stop", f'"{text}"') for text in stop]
    for name, text in [*quoted, *(("stop", text) for text in stop)]:
        if '"""' in text or not text.replace("\n", "").replace("\t", "").isprintable():
            raise UserError(
                f"the {name} has three quotation marks or an unprintable character in it, which no"
                f" Modelfile can hold: {text!r}"
            )
    return "\n".join(
        [
            f"FROM ./{gguf}",
            *(f'{name.upper()} """{text}"""' for name, text in quoted),
            *(f"PARAMETER {name} {value}" for name, value in parameters),
            "",
        ]
    )
