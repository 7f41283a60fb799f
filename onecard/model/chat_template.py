"""The chat template that a recipe asks for: a file of its own, and values that a template reads.

Both are written into the tokenizer. Whoever renders a prompt then writes the same text: TRL in
training, the pilot, the length filter, evaluation, chat, and what the exported model is used with.
Passing them at each place would leave out the place that somebody forgets.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onecard.files.encoding import read_text
from onecard.types import UserError

Value = str | int | float | bool | None


@dataclass(frozen=True)
class ChatSettings:
    """`file`: a Jinja chat template instead of the model's. `variables`: what a template reads."""

    file: str | None = None
    variables: Mapping[str, Value] = field(default_factory=dict)

    def apply(self, tokenizer: Any) -> None:
        """Change the tokenizer's chat template; one that was saved so stays as it is.

        Raises UserError for a variable that the template does not read.
        """
        if self.file is not None:
            tokenizer.chat_template = read_text(Path(self.file))
        template = tokenizer.chat_template
        for name, value in self.variables.items():
            if not isinstance(template, str) or not re.search(rf"\b{re.escape(name)}\b", template):
                raise UserError(
                    f"model.chat_template_kwargs: this model's chat template does not read"
                    f" {name!r}, so it would change nothing; its tokenizer_config.json or"
                    " chat_template.jinja shows what it reads"
                )
            # A run's adapter was saved with a value already.
            template = re.sub(rf"\{{% set {re.escape(name)} = [^%]*%\}}", "", template)
            template = f"{{% set {name} = {literal(value)} %}}{template}"
        tokenizer.chat_template = template


def literal(value: Value) -> str:
    """A value as Jinja writes it."""
    return "none" if value is None else json.dumps(value)
