"""Bytes of a text file -> text: UTF-8, or what a byte order mark says."""

import codecs
from pathlib import Path

from onecard.types import UserError

# The longer mark first: UTF-32's begins like UTF-16's.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(file: Path) -> str:
    """The text of a file. Raises UserError naming the line that is not of its encoding."""
    if not file.is_file():
        raise UserError(f"no file {file}")
    content = file.read_bytes()
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content:
        raise UserError(
            f"{file}: it has zero bytes, so it is UTF-16 without a byte order mark, or no text;"
            " save it as UTF-8"
        )
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise UserError(
                f"{file}: its byte order mark says {encoding.upper()}, and byte {error.start} is"
                " none of that; save it as UTF-8"
            ) from None
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{file}, line {line}: not UTF-8 at byte 0x{content[error.start]:02x}, perhaps"
            " Windows-1252 or Latin-1; save it as UTF-8"
        ) from None
