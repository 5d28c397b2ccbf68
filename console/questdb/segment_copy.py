"""A segment's event files as they were: the first bytes of `_event` from a copy of them, what came later from disk.

    copy   [header 0..2][0][1][2]                  taken when the log named transaction 2
    disk   [????????????????????][3][4][end mark]  a page is lost
    read   [header 0..4][0][1][2][3][4][end mark]

Committed records are never changed (WalEventWriter), so that a copy is the beginning of what the file must hold.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.fields import Fields
from console.questdb.formats.segment import EVENT_HEADER
from console.questdb.segment_chain import END_MARK, HEADER_SIZE, offsets_beyond, prefixes

Bytes = NDArray[np.uint8]
_MARK: Final = np.frombuffer(END_MARK, np.uint8)


def put_before(copy: bytes, event: Bytes, index: NDArray[np.int64]) -> tuple[Bytes, NDArray[np.int64]] | None:
    """Return `_event` (u1) and `_event.i` (i64) with the records of `copy` in the place of those on disk.

    None where the copy is no whole one, or is of another segment: the disk has records in their places, and not one of
    them is the same.
    """
    taken = np.frombuffer(copy, np.uint8)
    offsets = offsets_beyond(taken, HEADER_SIZE, 0)
    lengths = prefixes(taken, offsets)["length"].astype(np.int64)
    if not len(offsets) or int(offsets[-1] + lengths[-1]) != len(taken) or _of_another(taken, event, offsets, lengths):
        return None
    later = event[len(taken) :]
    if not later[: len(_MARK)].any():
        later = np.concatenate((_MARK, later[len(_MARK) :]))
    head = Fields(event[:HEADER_SIZE].tobytes())
    last = EVENT_HEADER.value("last_txn", head) if len(head) == HEADER_SIZE else -1
    kind = EVENT_HEADER.value("format", Fields(copy[:HEADER_SIZE]))
    header = EVENT_HEADER.pack(last_txn=max(last, len(offsets) - 1), format=kind)
    entries = np.concatenate((offsets, [len(taken)], index[len(offsets) + 1 :]))
    return np.concatenate((np.frombuffer(header, np.uint8), taken[HEADER_SIZE:], later)), entries


def _of_another(taken: Bytes, event: Bytes, offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> bool:
    there = prefixes(event, offsets)
    record = (there["length"] == lengths) & (there["txn"] == np.arange(len(offsets)))
    size = min(len(taken), len(event))
    differing = np.cumsum(np.concatenate(([0], taken[:size] != event[:size], np.ones(len(taken) - size, np.bool_))))
    same = differing[offsets + lengths] == differing[offsets]
    return bool(record.any() and not (record & same).any())
