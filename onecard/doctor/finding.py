"""One thing that the doctor has looked at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`ok`: True, False (training cannot start), or None (it can, but this is worth knowing).
    `remedy`: what to type.
    """

    about: str
    ok: bool | None
    text: str
    remedy: str = ""
