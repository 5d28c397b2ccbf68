"""Find bytes in a file of any size: in chunks, past holes, and stopped at any time."""

from collections.abc import Callable
from typing import Final

from console.questdb.reading import DbFile

_CHUNK: Final = 4 << 20


def find_bytes(file: DbFile, wanted: bytes, first: int, end: int, stopped: Callable[[], bool]) -> int | None:
    """Return the offset of the first `wanted` that begins from `first` on and before `end`, None if there is none.

    `stopped` is asked before each chunk: once it is true nothing more is read. Raises OSError where the device fails.
    """
    at, end = max(0, first), min(end, file.size - len(wanted) + 1)
    in_holes = not any(wanted)
    while wanted and at < end and not stopped():
        if not in_holes:
            at = max(at, file.next_data(at) - len(wanted) + 1)
        found = file.read(at, min(_CHUNK, end - at) + len(wanted) - 1).find(wanted)
        if found >= 0:
            return at + found if at + found < end else None
        at += _CHUNK
    return None
