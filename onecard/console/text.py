"""Text that a model wrote, made safe to show: on a terminal, and in Markdown."""

from rich.text import Text

CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
}


def visible(text: str) -> Text:
    """A model's text with its control characters written out. A terminal would obey them."""
    return Text(text.translate(CONTROLS))


def fenced(text: str) -> str:
    """Text as an indented Markdown block, whatever its line ends are: shown, never rendered."""
    return "\n".join(f"    {line}" for line in text.splitlines() or [""])
