"""Which exceptions are about the disk, and what they say of it."""

import errno
import os
import re
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
TROUBLE = {errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM}


def disk_trouble(error: BaseException, folder: Path) -> str | None:
    """What is wrong with the disk or with `folder`; None if the exception is about another thing.

    Libraries that are written in Rust tell the number of the error in their text alone.
    """
    if isinstance(error, OSError):
        number = error.errno
        where = f": {error.filename}" if error.filename else ""
        told = number in FULL or (number in TROUBLE and is_in(error.filename, folder))
    else:
        found = re.search(r"\(os error (\d+)\)|\bOs \{ code: (\d+), kind:", str(error))
        number = int(found[1] or found[2]) if found else None
        where = ""
        told = number in FULL | TROUBLE
    if number is None or not told:
        return None
    return f"{os.strerror(number)}{where}"


def is_in(file: str | bytes | None, folder: Path) -> bool:
    """Whether a file that an error names is in a folder of ours."""
    if file is None:
        return False
    return Path(os.fsdecode(file)).absolute().is_relative_to(folder.absolute())
