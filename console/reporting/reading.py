"""Reading a text that goes into a bundle: bounded, no link followed, and one sentence where it cannot be read."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from console.errors import WalmedicError
from console.text import clean, clean_line

MOST: Final = 1 << 20
MOST_OF_A_LOG: Final = 8 << 20
"""A log is thinned out before it is cut, so more of it is read."""


class Unreadable(WalmedicError):
    """A file that cannot be read; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a file without control characters; `cut` says that only its beginning or end is here."""

    text: str
    cut: bool


def read_text(path: Path, most: int = MOST, *, end: bool = False) -> Text:
    """Return the first `most` bytes of a regular file as text, or the last ones from a line's beginning on.

    Raises Unreadable.
    """
    name = clean_line(str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise Unreadable(f"{name}: {(error.strerror or 'it cannot be read').lower()}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(f"{name}: it is no regular file")
        start = max(0, status.st_size - most) if end else 0
        content = os.pread(descriptor, most, start)
    except OSError as error:
        raise Unreadable(f"{name}: {(error.strerror or 'it cannot be read').lower()}") from error
    finally:
        os.close(descriptor)
    cut = status.st_size > len(content)
    if start:
        content = content.partition(b"\n")[2]
    return Text(clean(content.decode("utf-8", "replace")), cut)
