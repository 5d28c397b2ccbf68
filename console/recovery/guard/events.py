"""Copies of the segments' `_event` files: as the log names transactions, their records are appended.

Only what the log names is taken: it is committed, and no writer changes it any more. Each record is held to the index
and to its own length and number; a segment of which that does not hold keeps the copy that it has.
"""

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console import paths
from console.copying import write_at
from console.questdb.reading import DamageError, DbFile
from console.questdb.segment_chain import HEADER_SIZE, prefixes
from console.recovery.store.state import write_private
from console.table.event_copies import CopyNote, copy_place, note_place, read_note

_MOST: Final = 8 << 20
"""Bytes of one `_event` that are copied: in each transaction it repeats the symbols that are new in the segment."""


def follow_events(table: Path, mirror: Path, new: Iterable[NDArray[Any]]) -> int:
    """Append what the `new` records of the log of `table` name to the copies below `mirror`; return the bytes written.

    Raises OSError where a copy cannot be written.
    """
    written = 0
    for wal, segment, txn in _named(new):
        copy = copy_place(mirror, wal, segment)
        note = read_note(copy)
        count, records = _records(table / f"wal{wal}" / str(segment), note, txn)
        if count:
            if not note.count:
                _forget_gone(table, paths.make_private(copy.parent))
            _append(copy, note, count, records)
            written += len(records)
    return written


def _named(new: Iterable[NDArray[Any]]) -> Iterator[tuple[int, int, int]]:
    """Yield WAL, segment and the last transaction of it that the records name."""
    for records in new:
        named = records[records["wal_id"] > 0]
        places, at = np.unique(named[["wal_id", "segment_id"]], return_inverse=True)
        last = np.zeros(len(places), np.int64)
        np.maximum.at(last, at, named["segment_txn"])
        for (wal, segment), txn in zip(places.tolist(), last.tolist(), strict=True):
            yield wal, segment, txn


def _records(segment: Path, note: CopyNote, txn: int) -> tuple[int, bytes]:
    """Return how many records there are behind `note` up to `txn`, and their bytes, the header before the first.

    None where they are not whole, or not there: a purge may have been faster.
    """
    begin = note.size or HEADER_SIZE
    try:
        with DbFile(segment / "_event.i") as index, DbFile(segment / "_event") as events:
            ends = index.array(8 * note.count, "<i8", max(0, txn + 2 - note.count))
            rising = bool((np.diff(ends) > 0).all())
            ends = ends[: np.searchsorted(ends, _MOST, "right")] if rising else ends[:0]
            if len(ends) < 2 or int(ends[0]) != begin:
                return 0, b""
            content = events.array(note.size, "u1", int(ends[-1]) - note.size)
    except (DamageError, OSError):
        return 0, b""
    found, count = prefixes(content, ends[:-1] - note.size), len(ends) - 1
    same = (found["length"] == np.diff(ends)) & (found["txn"] == np.arange(note.count, note.count + count))
    whole = len(content) == int(ends[-1]) - note.size and bool(same.all())
    return (count, content.tobytes()) if whole else (0, b"")


def _append(copy: Path, note: CopyNote, count: int, records: bytes) -> None:
    """Write `count` records behind what is whole, durably, and only then the note."""
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, note.size)
        write_at(descriptor, records, note.size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    now = CopyNote(note.count + count, note.size + len(records), zlib.crc32(records, note.crc))
    write_private(note_place(copy), now.encode())


def _forget_gone(table: Path, folder: Path) -> None:
    """Remove the copies of segments that are purged."""
    for copy in folder.iterdir():
        wal, _, segment = copy.name.removesuffix(".note").partition(".")
        if not (table / wal / segment).exists():
            copy.unlink()
