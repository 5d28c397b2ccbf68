"""What the guard keeps of segments' `_event` files: their beginning, as far as the log named transactions of them.

A copy is a file of its own for each segment, below the mirror of the log, and only ever grows. The note beside it says
how much of it is whole: how many transactions, bytes, and the CRC-32 of these bytes.
"""

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from console.questdb.reading import Problem, ProblemKind, read_small
from console.questdb.segment import EventType, Segment, read_segment
from console.questdb.segment_chain import MAX_EVENT_FILE

_FOLDER: Final = "events"
_NOTE: Final = re.compile(rb"(\d{1,7}) (\d{1,10}) (\d{1,10})\n")


@dataclass(frozen=True, slots=True)
class CopyNote:
    """How much of a copy is whole: `count` transactions in `size` bytes, whose CRC-32 is `crc`."""

    count: int = 0
    size: int = 0
    crc: int = 0

    def encode(self) -> bytes:
        return b"%d %d %d\n" % (self.count, self.size, self.crc)


def copy_place(mirror: Path, wal: int, segment: int) -> Path:
    """Return where the copy of a segment's `_event` lies below a mirror of the log."""
    return mirror / _FOLDER / f"wal{wal}.{segment}"


def note_place(copy: Path) -> Path:
    return copy.with_name(f"{copy.name}.note")


def read_note(copy: Path) -> CopyNote:
    """Return the note of a copy, one of nothing where there is none that can be read."""
    found = _NOTE.fullmatch(read_small(note_place(copy)).data)
    return CopyNote(*map(int, found.groups())) if found else CopyNote()


def read_copy(copy: Path) -> bytes:
    """Return what is whole of a copy, empty where that is not what was noted."""
    note = read_note(copy)
    content = read_small(copy, min(note.size, MAX_EVENT_FILE)).data if note.count else b""
    return content if len(content) == note.size and zlib.crc32(content) == note.crc else b""


def with_copy(segment: Segment, wal: int, number: int, mirrors: Iterable[Path]) -> Segment:
    """Return the segment `number` of `wal` with the records of a copy, if that tells more of it; else as it is.

    Its problems stay those of the disk. Of several `mirrors` the last counts first.
    """
    for mirror in reversed(tuple(mirrors)):
        content = read_copy(copy_place(mirror, wal, number))
        found = read_segment(segment.path, content) if content else segment
        if found.copied and _told(found) > _told(segment):
            return replace(found, problems=segment.problems or (_miscounted(segment),))
    return segment


def _miscounted(segment: Segment) -> Problem:
    what = f"its header ends at transaction {segment.max_txn}, and the guard has copied later ones"
    return Problem(ProblemKind.INVALID, what, segment.path / "_event", 0)


def _told(segment: Segment) -> tuple[int, int]:
    """Return how many transactions can be decoded that the header counts, and how little is wrong."""
    decoded = int((segment.events["type"] != EventType.UNREADABLE).sum())
    return decoded - segment.beyond, -len(segment.problems)
