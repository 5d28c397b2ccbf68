"""The transactions that the WAL segments of one table hold, as one array, and how to find one by its address.

A segment transaction is called an event here, as in the file that lists it (`walN/S/_event`). Its address is (wal,
segment, txn); within one WAL the address gives the order in which events were committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.diagnosis.segment_inventory import Index, Mask, carries_rows, segment_key

DATA: Final = 0
SQL: Final = 1
TRUNCATE: Final = 2
VIEW_DATA: Final = 3
VIEW_INVALIDATE: Final = 4
REPLACE_RANGE: Final = 3
"""Dedup mode of an event that replaces a range of the table instead of adding rows."""

EVENT: Final = np.dtype(
    [
        ("wal", "<i4"),
        ("segment", "<i4"),
        ("txn", "<i4"),
        ("type", "i1"),
        ("mode", "i1"),
        ("start", "<i8"),
        ("end", "<i8"),
        ("min_ts", "<i8"),
        ("max_ts", "<i8"),
        ("structure", "<i8"),
        ("written_us", "<i8"),
        ("torn", "?"),
    ]
)
"""One event: rows `start`..`end` (exclusive) of its segment; `structure` is the version in the segment's `_meta`;
`written_us` is when its `_event` file last changed (µs, UTC); `torn`: the columns do not hold what it says."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """All events on disk, sorted by (wal, segment, txn), and which WAL directories and segments there are.

    `segments` are sorted keys wal << 30 | segment, also of segments without events; `broken` names segments whose
    `_event` cannot be read to its end, with the reason.
    """

    events: NDArray[Any]
    segments: Index
    wals: tuple[int, ...]
    broken: tuple[tuple[int, int, str], ...] = ()

    @classmethod
    def of(
        cls,
        events: NDArray[Any],
        *,
        segments: Sequence[tuple[int, int]] = (),
        wals: Sequence[int] = (),
        broken: Sequence[tuple[int, int, str]] = (),
    ) -> "Inventory":
        """Return the inventory of `events` in any order; `segments` and `wals` add those that hold none."""
        ordered = events[np.lexsort((events["txn"], events["segment"], events["wal"]))]
        named = [segment_key(np.int64(wal), np.int64(segment)) for wal, segment in segments]
        keys = np.unique(np.concatenate([segment_keys(ordered), np.array(named, np.int64)]))
        return cls(ordered, keys, tuple(sorted({*wals, *(keys >> 30).tolist()})), tuple(sorted(broken)))

    def __len__(self) -> int:
        return len(self.events)

    @property
    def rows(self) -> Index:
        """Rows of each event; 0 where it is not data."""
        return np.where(carries_rows(self.events), self.events["end"] - self.events["start"], 0)

    def locate(self, wal: NDArray[Any], segment: NDArray[Any], txn: NDArray[Any]) -> Index:
        """Return the index of the event at each address, -1 where there is none."""
        if not len(self.events):
            return np.full(len(wal), -1, np.int64)
        keys = segment_keys(self.events)
        first_key, first = np.unique(keys, return_index=True)
        counts = np.diff(np.append(first, len(keys)))
        wanted = segment_key(wal, segment)
        rank = np.minimum(np.searchsorted(first_key, wanted), len(first_key) - 1)
        found = np.where((first_key[rank] == wanted) & (txn >= 0) & (txn < counts[rank]), first[rank] + txn, -1)
        # Events of a segment are 0, 1, 2 …; where a damaged file makes them otherwise the address must still agree.
        at = np.maximum(found, 0)
        return np.where((found >= 0) & (self.events["txn"][at] == txn), found, -1).astype(np.int64)

    def has_segment(self, wal: NDArray[Any], segment: NDArray[Any]) -> Mask:
        """Return for each address whether its segment is on disk."""
        return np.isin(segment_key(wal, segment), self.segments)

    def slices(self) -> list[tuple[int, int, int]]:
        """Return (wal, first index, index past the last) for each WAL with events."""
        wals, first = np.unique(self.events["wal"], return_index=True)
        ends = np.append(first, len(self.events))[1:]
        return [(int(w), int(a), int(b)) for w, a, b in zip(wals, first, ends, strict=True)]

    def last_of_wal(self) -> Mask:
        """Return which events are the last of their WAL: only such a one can have missed the sequencer in a crash."""
        last = np.zeros(len(self.events), np.bool_)
        for _, _, stop in self.slices():
            last[stop - 1] = True
        return last

    def unbroken(self) -> bool:
        """Return whether WAL ids run from 1 without a gap and segments of each from 0: no sign of a purge."""
        if self.wals != tuple(range(1, len(self.wals) + 1)) or self.broken:
            return False
        present = [(int(key) >> 30, int(key) & 0x3FFFFFFF) for key in self.segments]
        for wal in self.wals:
            mine = [segment for w, segment in present if w == wal]
            if mine != list(range(len(mine))):
                return False
        return True


def segment_keys(events: NDArray[Any]) -> Index:
    """Return the segment key of each event."""
    return np.asarray(segment_key(events["wal"], events["segment"]), np.int64)


def is_plain(events: NDArray[Any]) -> Mask:
    """Return which events only add rows: their order among writers cannot matter where the table has no dedup keys."""
    return np.asarray((events["type"] == DATA) & (events["mode"] != REPLACE_RANGE))
