"""Where the records of a segment's `_event` are: by its index `_event.i`, and by the chain of their lengths.

The index is believed only where the records it names fit one another; where they do not, the chain is followed, and
where that breaks too the next record that the index names is taken up. All integers are little-endian.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.fields import Fields
from console.questdb.formats.segment import EVENT, EVENT_HEADER, EVENT_VIEW_ROWS

HEADER_SIZE: Final = EVENT_HEADER.size
COMMON_SIZE: Final = EVENT.size
END_MARK: Final = b"\xff" * 4
"""Follows the last record: i32 -1 in the place of a length."""
MAX_EVENT_FILE: Final = 64 << 20
MAX_EVENTS: Final = 1 << 20
_MAX_UNREADABLE_TAIL: Final = 4096
_MAX_STRETCHES: Final = 100
_LAST_TYPE: Final = max(code.value for code in EVENT["type"].codes if code.since < (9, 3, 0))
PREFIX: Final = EVENT_VIEW_ROWS.dtype


def last_txn(event: NDArray[np.uint8]) -> int:
    """Return the header's last transaction. A fresh segment has 0 there, and -1 for the length of its first record."""
    head = Fields(event[: HEADER_SIZE + 4].tobytes())
    last = EVENT_HEADER.value("last_txn", head)
    none = len(head) >= HEADER_SIZE + 4 and EVENT.value("length", head, HEADER_SIZE) == -1
    return -1 if last == 0 and none else last


def is_blank(event: NDArray[np.uint8], index: NDArray[np.int64]) -> bool:
    """Return whether neither file has been begun: both are empty or zeros, but for the index' first entry.

    A writer makes the files, then writes the header and the end mark (WalEventWriter.openEventFile, init): a reader may
    see them between, and a server that is killed leaves them so. Zeros where pages were lost differ from that by the
    index and by the columns.
    """
    begun = event[: HEADER_SIZE + 4]
    if len(begun) not in (0, HEADER_SIZE + 4) or begun.any():
        return False
    return not index[1:].any() and (not len(index) or int(index[0]) in (0, HEADER_SIZE))


def prefixes(event: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[Any]:
    """Return the fixed part at each of `offsets` as PREFIX; bytes past the end of the file count as zeros."""
    size = PREFIX.itemsize
    found = np.zeros((len(offsets), size), np.uint8)
    last = len(event) - size
    inside = offsets <= last
    if inside.any():
        found[inside] = np.lib.stride_tricks.sliding_window_view(event, size)[offsets[inside]]
    for row in np.flatnonzero(~inside & (offsets < len(event)))[:size]:
        rest = event[offsets[row] :]
        found[row, : len(rest)] = rest
    return found.view(PREFIX).reshape(-1)


def locate(
    event: NDArray[np.uint8], index: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], int | None, list[tuple[int, str, int | None]]]:
    """Return the offset of each of `count` records (-1: not found), the end of the last, and the broken stretches.

    A stretch is (first transaction, words naming its end, offset or None).
    """
    limit = len(event)
    offsets = np.full(count, -1, np.int64)
    stated = index[:count]
    usable = (stated >= HEADER_SIZE) & (stated <= limit - COMMON_SIZE)
    prefix = prefixes(event, np.where(usable, stated, 0))
    good = (
        usable
        & (prefix["length"] >= COMMON_SIZE)
        & (stated + prefix["length"] <= limit)
        & (prefix["txn"] == np.arange(len(stated)))
        & (prefix["type"] >= 0)
        & (prefix["type"] <= _LAST_TYPE)
    )
    ends = stated + prefix["length"]
    if count and len(stated) == count and good.all() and stated[0] == HEADER_SIZE and (ends[:-1] == stated[1:]).all():
        return stated.astype(np.int64), int(ends[-1]), []
    return _walk(event, offsets, stated, np.flatnonzero(good).tolist())


def _walk(
    event: NDArray[np.uint8], offsets: NDArray[np.int64], stated: NDArray[np.int64], trusted: list[int]
) -> tuple[NDArray[np.int64], int | None, list[tuple[int, str, int | None]]]:
    """Follow the chain of lengths; where it breaks go on at the next record that the index names and that fits."""
    broken: list[tuple[int, str, int | None]] = []
    at: int | None = HEADER_SIZE
    txn = following = 0
    while txn < len(offsets):
        if at is not None and (length := _record_length(event, at, txn)) is not None:
            offsets[txn] = at
            at += length
            txn += 1
            continue
        while following < len(trusted) and (trusted[following] < txn or stated[trusted[following]] < (at or 0)):
            following += 1
        next_txn = trusted[following] if following < len(trusted) else len(offsets)
        if next_txn > txn and len(broken) < _MAX_STRETCHES:
            upto = "" if next_txn == txn + 1 else f", nor are the next {next_txn - txn - 1:,}"
            broken.append((txn, upto, at))
        at = int(stated[next_txn]) if next_txn < len(offsets) else None
        txn = next_txn
    tail = len(offsets) - 1 - int(np.flatnonzero(offsets >= 0)[-1]) if (offsets >= 0).any() else len(offsets)
    return offsets[: len(offsets) - max(0, tail - _MAX_UNREADABLE_TAIL)], at, broken


def _record_length(event: NDArray[np.uint8], at: int, txn: int) -> int | None:
    if at + COMMON_SIZE > len(event):
        return None
    length, found, kind = EVENT.packed.unpack_from(event.data, at)
    good = length >= COMMON_SIZE and at + length <= len(event) and found == txn and 0 <= kind <= _LAST_TYPE
    return int(length) if good else None


def index_mismatch(index: NDArray[np.int64], offsets: NDArray[np.int64], end: int | None) -> int | None:
    """Return the first entry that differs from what the event file shows; the server finds events by it alone."""
    if not len(offsets):
        return None
    shown = np.append(offsets, -1 if end is None else end)
    entries = np.full(len(shown), -1, np.int64)
    entries[: len(index[: len(shown)])] = index[: len(shown)]
    differs = np.flatnonzero((shown >= 0) & (shown != entries))
    return int(differs[0]) if len(differs) else None


def offsets_beyond(event: NDArray[np.uint8], end: int | None, txn: int) -> NDArray[np.int64]:
    """Return the offsets of the whole records that follow at `end`, the first of them of transaction `txn`."""
    found: list[int] = []
    while end is not None and len(found) < MAX_EVENTS:
        length = _record_length(event, end, txn + len(found))
        if length is None:
            break
        found.append(end)
        end += length
    return np.array(found, np.int64)


def end_marked(event: NDArray[np.uint8], offset: int, length: int) -> bool:
    """Return whether the end mark, i32 -1, follows the record at `offset`."""
    return bytes(event[offset + length : offset + length + len(END_MARK)]) == END_MARK


def count_indexed(index: NDArray[np.int64]) -> int:
    """Return how many transactions the index counts: its offsets rise from the header's size to the end's."""
    if len(index) < 2 or int(index[0]) != HEADER_SIZE:
        return 0
    rising = np.diff(index) >= COMMON_SIZE
    return len(rising) if rising.all() else int(np.argmin(rising))


def stated_lengths(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the length of each record by the index, 0 from where its offsets do not rise by a record's least size."""
    count = count_indexed(index)
    return np.diff(index[: count + 1]).astype(np.int64)
