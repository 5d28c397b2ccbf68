"""All transactions that the WAL segments of a table hold, as one array sorted by (wal, segment, txn)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.diagnosis.memory import TableMemory
from console.questdb.layout import WalDirectory
from console.questdb.segment import EventType, Segment, read_segment

ADDRESSED: Final = np.dtype(
    [
        ("wal", "<i4"),
        ("segment", "<i4"),
        ("txn", "<i4"),
        ("type", "i1"),
        ("dedup_mode", "i1"),
        ("start_row", "<i8"),
        ("end_row", "<i8"),
        ("min_ts", "<i8"),
        ("max_ts", "<i8"),
    ]
)
"""One segment transaction with its address; rows and timestamps as in console.questdb.segment.EVENT."""

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SegmentInventory:
    """Segment transactions of one table. `segments` maps (wal, segment) to what was read of it, ascending.

    `keys` are the sorted segment keys, `first` the index in `events` of each one's transaction 0, `counts` how many.
    """

    events: NDArray[Any]
    segments: dict[tuple[int, int], Segment]
    wals: tuple[WalDirectory, ...]
    keys: Index = field(repr=False)
    first: Index = field(repr=False)
    counts: Index = field(repr=False)

    def __len__(self) -> int:
        return len(self.events)

    @property
    def rows(self) -> Index:
        """Rows of each transaction; 0 where it carries none."""
        return np.where(carries_rows(self.events), self.events["end_row"] - self.events["start_row"], 0)

    def locate(self, wal: NDArray[Any], segment: NDArray[Any], txn: NDArray[Any]) -> Index:
        """Return the index of each address in `events`, -1 where there is no such transaction."""
        if not len(self.keys):
            return np.full(len(wal), -1, np.int64)
        wanted = segment_key(wal, segment)
        rank = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        found = (self.keys[rank] == wanted) & (wal >= 1) & (segment >= 0) & (txn >= 0) & (txn < self.counts[rank])
        return np.where(found, self.first[rank] + txn, -1).astype(np.int64)

    def on_disk(self, wal: NDArray[Any], segment: NDArray[Any]) -> Mask:
        """Return for each address whether its segment's directory exists."""
        return np.asarray(np.isin(segment_key(wal, segment), self.keys) & (wal >= 1) & (segment >= 0))

    def slices(self) -> list[tuple[int, int, int, int]]:
        """Return (wal, segment, first index, index past the last) of each segment, ascending."""
        ends = self.first + self.counts
        return [
            (wal, segment, int(low), int(high))
            for (wal, segment), low, high in zip(self.segments, self.first, ends, strict=True)
        ]


def carries_rows(events: NDArray[Any]) -> Mask:
    """Return which events carry rows."""
    kind = events["type"]
    return np.asarray((kind == EventType.DATA) | (kind == EventType.MAT_VIEW_DATA))


def segment_key(wal: Any, segment: Any) -> Any:
    """Return one sortable i64 per segment: segment ids take 29 bits (WalUtils.SEG_MAX_ID), wal ids 31."""
    return np.asarray(wal, np.int64) << 30 | np.asarray(segment, np.int64) & 0x3FFFFFFF


def read_inventory(wals: Sequence[WalDirectory], memory: TableMemory | None = None) -> SegmentInventory:
    """Return the transactions of every segment of `wals`; what cannot be read is in each Segment's problems.

    Closed segments that `memory` has read and whose files are unchanged are not read again.
    """
    segments: dict[tuple[int, int], Segment] = {}
    parts: list[NDArray[Any]] = []
    for wal in sorted(wals, key=lambda wal: wal.id):
        for segment_id in wal.segments:
            segment = _read(wal.segment(segment_id), memory)
            segments[wal.id, segment_id] = segment
            parts.append(_addressed(segment, wal.id, segment_id))
    events = np.concatenate(parts) if parts else np.empty(0, ADDRESSED)
    if memory is not None:
        memory.forget_all_but({segment.path for segment in segments.values()})
    counts = np.array([len(part) for part in parts], np.int64)
    keys = np.array([int(segment_key(wal, segment_id)) for wal, segment_id in segments], np.int64)
    return SegmentInventory(events, segments, tuple(wals), keys, np.cumsum(counts) - counts, counts)


def _read(directory: Path, memory: TableMemory | None) -> Segment:
    if memory is None:
        return read_segment(directory)
    known = memory.segment(directory)
    if known is not None:
        return known
    stamp = memory.stamp_of(directory)
    segment = read_segment(directory)
    memory.keep_segment(directory, stamp, segment)
    return segment


def _addressed(segment: Segment, wal: int, segment_id: int) -> NDArray[Any]:
    made = np.zeros(len(segment.events), ADDRESSED)
    made["wal"], made["segment"] = wal, segment_id
    for name in ("txn", "type", "dedup_mode", "start_row", "end_row", "min_ts", "max_ts"):
        made[name] = segment.events[name]
    return made
