"""All transactions that the WAL segments of a table hold, as one array sorted by (wal, segment, txn).

A segment transaction is called an event here, as in the file that lists it (`walN/S/_event`). Its address is (wal,
segment, txn); within one WAL the address gives the order in which events were committed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_files import written_rows
from console.questdb.layout import TableDirectory, WalDirectory, lost_wals
from console.questdb.reading import DamageError, Entry
from console.questdb.segment import DedupMode, EventType, Segment, read_segment
from console.questdb.server_version import Version, read_versions
from console.questdb.version_behaviour import behaviour_of
from console.table.event_copies import with_copy
from console.table.memory import TableMemory

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
        ("beyond", "?"),
        ("opens", "?"),
        ("disputed", "?"),
    ]
)
"""One event: rows `start`..`end` (exclusive) of its segment; type and mode as in console.questdb.segment. `structure`
is the version in the segment's `_meta`; `written_us` is when its `_event` file last changed (µs, UTC); `beyond`: the
header of the file does not count it; `opens`: `_event.i` leads to it; `disputed`: its rows are not those between the
events around it, so that it has type UNREADABLE, but the server takes it for what it says."""
_MOST_UNCOUNTED: Final = 4096
"""Events that nothing but a header or an index tells of: so many of a segment get a place."""

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Events of one table. `segments` maps (wal, segment) to what was read of it, ascending.

    `keys` are the sorted keys of all segments, `first` the index in `events` of each one's first event, `counts` how
    many it has. `broken` names segments whose `_event` cannot be read to its end, or contradicts itself, and why.
    `lost` are (wal, segment) of which only the lock file is there, with segment -1 for a whole WAL.
    """

    events: NDArray[Any]
    keys: Index = field(repr=False)
    first: Index = field(repr=False)
    counts: Index = field(repr=False)
    wals: tuple[int, ...]
    segments: Mapping[tuple[int, int], Segment] = field(default_factory=dict, repr=False)
    directories: tuple[WalDirectory, ...] = ()
    broken: tuple[tuple[int, int, str], ...] = ()
    lost: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(
        cls,
        events: NDArray[Any],
        segments: Mapping[tuple[int, int], Segment] | None = None,
        directories: Sequence[WalDirectory] = (),
        broken: Sequence[tuple[int, int, str]] = (),
    ) -> "Inventory":
        """Return the inventory of `events` in any order; `segments` and `directories` add those that hold none."""
        ordered = events[np.lexsort((events["txn"], events["segment"], events["wal"]))]
        read = dict(sorted((segments or {}).items()))
        own = np.array([int(segment_key(wal, segment)) for wal, segment in read], np.int64)
        used = np.asarray(segment_key(ordered["wal"], ordered["segment"]), np.int64)
        keys = np.unique(np.concatenate([own, used]))
        first = np.searchsorted(used, keys)
        counts = np.searchsorted(used, keys, "right") - first
        wals = sorted({*(directory.id for directory in directories), *(keys >> 30).tolist()})
        return cls(ordered, keys, first, counts, tuple(wals), read, tuple(directories), tuple(sorted(broken)))

    def __len__(self) -> int:
        return len(self.events)

    @property
    def rows(self) -> Index:
        """Rows of each event; 0 where it carries none."""
        return np.where(carries_rows(self.events), self.events["end"] - self.events["start"], 0)

    def locate(self, wal: NDArray[Any], segment: NDArray[Any], txn: NDArray[Any]) -> Index:
        """Return the index of the event at each address, -1 where there is none."""
        if not len(self.events) or not ((wal >= self.wals[0]) & (wal <= self.wals[-1])).any():
            return np.full(len(wal), -1, np.int64)
        wanted = segment_key(wal, segment)
        rank = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        found = (self.keys[rank] == wanted) & (wal >= 1) & (segment >= 0) & (txn >= 0) & (txn < self.counts[rank])
        at = np.where(found, self.first[rank] + txn, 0)
        return np.where(found & (self.events["txn"][at] == txn), at, -1).astype(np.int64)

    def on_disk(self, wal: NDArray[Any], segment: NDArray[Any]) -> Mask:
        return np.asarray(np.isin(segment_key(wal, segment), self.keys) & (wal >= 1) & (segment >= 0))

    def slices(self) -> list[tuple[int, int, int, int]]:
        """Return (wal, segment, first index, index past the last) of each segment, ascending."""
        ends = self.first + self.counts
        return [
            (key >> 30, key & _SEGMENT_BITS, low, high)
            for key, low, high in zip(self.keys.tolist(), self.first.tolist(), ends.tolist(), strict=True)
        ]

    def by_wal(self) -> list[tuple[int, int, int]]:
        """Return (wal, first index, index past the last) for each WAL with events."""
        wals, first = np.unique(self.events["wal"], return_index=True)
        ends = np.append(first, len(self.events))[1:]
        return [(int(w), int(a), int(b)) for w, a, b in zip(wals, first, ends, strict=True)]

    def last_of_wal(self) -> Mask:
        """Return which events are the last of their WAL: only such a one can have missed the sequencer in a crash."""
        last = np.zeros(len(self.events), np.bool_)
        for _, _, stop in self.by_wal():
            last[stop - 1] = True
        return last

    def unbroken(self) -> bool:
        """Return whether WAL ids run from 1 without a gap and segments of each from 0: no sign of a purge."""
        if self.wals != tuple(range(1, len(self.wals) + 1)) or self.broken:
            return False
        _, first, counts = np.unique(self.keys >> 30, return_index=True, return_counts=True)
        return bool(((self.keys[first + counts - 1] & _SEGMENT_BITS) == counts - 1).all())


_SEGMENT_BITS: Final = 0x3FFFFFFF


def carries_rows(events: NDArray[Any]) -> Mask:
    kind = events["type"]
    return np.asarray((kind == EventType.DATA) | (kind == EventType.MAT_VIEW_DATA))


def is_plain(events: NDArray[Any]) -> Mask:
    """Return which events only add rows: their order among writers cannot matter where the table has no dedup keys."""
    return np.asarray((events["type"] == EventType.DATA) & (events["mode"] != DedupMode.REPLACE_RANGE))


def any_order(events: NDArray[Any]) -> bool:
    """Return whether the server makes the same rows of `events` in this order as in that of their WALs.

    Measured on 9.1.0 within a segment, where the table has no dedup keys. A WAL's later segment must not come first:
    the purge deletes what lies before it.
    """
    rows = events[np.argsort(events["wal"], kind="stable")]
    back = (rows["wal"][1:] == rows["wal"][:-1]) & (rows["segment"][1:] < rows["segment"][:-1])
    once = len(np.unique(events[["wal", "segment", "txn"]])) == len(events)
    return bool(once and is_plain(events).all() and not back.any())


def segment_key(wal: Any, segment: Any) -> Any:
    """Return one sortable i64 per segment: segment ids take 29 bits (WalUtils.SEG_MAX_ID), wal ids 31."""
    return np.asarray(wal, np.int64) << 30 | np.asarray(segment, np.int64) & _SEGMENT_BITS


def read_inventory(
    wals: Sequence[WalDirectory],
    memory: TableMemory | None = None,
    lost: Sequence[tuple[int, int]] = (),
    mirrors: Callable[[], Sequence[Path]] = tuple,
) -> Inventory:
    """Return the transactions of every segment of `wals`; what cannot be read is in each Segment's problems.

    `mirrors` returns the guard's mirrors of the table's log: asked where a segment's events cannot be read.

    `lost` are WALs and segments of which only the lock file is there (lost_places).
    Closed segments that `memory` has read and whose files are unchanged are not read again.
    """
    segments: dict[tuple[int, int], Segment] = {}
    parts: list[NDArray[Any]] = []
    broken: list[tuple[int, int, str]] = []
    for wal in sorted(wals, key=lambda wal: wal.id):
        for number in wal.segments:
            segment = _read(wal.segment(number), memory)
            if segment.problems or segment.beyond or not segment.whole:
                segment = with_copy(segment, wal.id, number, mirrors())
            segments[wal.id, number] = segment
            parts.append(_events(segment, wal.id, number))
            if why := _contradiction(segment):
                broken.append((wal.id, number, why))
    if memory is not None:
        memory.forget_all_but({segment.path for segment in segments.values()})
    found = Inventory.of(np.concatenate(parts) if parts else np.empty(0, EVENT), segments, wals, broken)
    return replace(found, lost=tuple(lost))


def lost_places(
    table: TableDirectory, wals: Sequence[WalDirectory], entries: Sequence[Entry]
) -> tuple[tuple[int, int], ...]:
    """Return (wal, segment) of which only the lock file is there, segment -1 for a whole WAL, ascending.

    From 9.3.3 on QuestDB makes no lock files, and its purge leaves those that an older version made: where one of these
    versions has run, they tell nothing.
    """
    lost = [(wal.id, number) for wal in wals for number in wal.lost] + [(wal, -1) for wal in lost_wals(entries)]
    if not lost:
        return ()
    started = filter(None, map(Version.parse, read_versions(table.path.parent).seen))
    return tuple(sorted(lost)) if all(behaviour_of(each).file_locks_hold_wal for each in started) else ()


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


def _events(segment: Segment, wal: int, number: int) -> NDArray[Any]:
    raw = segment.events
    if segment.records is not None and not _rows_behind(segment, segment.records):
        raw = segment.records  # a header that is too high counts no transaction
    decoded = np.flatnonzero(raw["type"] != EventType.UNREADABLE)
    known = int(decoded[-1]) + 1 if len(decoded) else 0
    events = np.zeros(max(len(raw), known + min(segment.uncounted, _MOST_UNCOUNTED)), EVENT)
    events["wal"], events["segment"], events["txn"] = wal, number, np.arange(len(events))
    events["type"] = EventType.UNREADABLE
    own = events[: len(raw)]
    own["type"], own["mode"] = raw["type"], raw["dedup_mode"]
    rows = carries_rows(own) | (own["type"] == EventType.UNREADABLE)
    for name, source in (("start", "start_row"), ("end", "end_row"), ("min_ts", "min_ts"), ("max_ts", "max_ts")):
        own[name] = np.where(rows, raw[source], 0)
    own["opens"] = segment.opens[: len(raw)]
    own["disputed"] = _disputed(own)
    own["type"][own["disputed"]] = EventType.UNREADABLE
    own["start"][own["disputed"]] = own["end"][own["disputed"]] = 0
    own["beyond"][len(raw) - segment.beyond :] = segment.beyond > 0
    events["structure"] = segment.metadata.structure_version if segment.metadata else 0
    events["written_us"] = segment.stamp.mtime_ns // 1000 if segment.stamp else 0
    return events


def _rows_behind(segment: Segment, records: NDArray[Any]) -> bool:
    """Return whether the columns may hold rows of transactions that only the header counts."""
    if len(records) == len(segment.events):
        return False
    data = records[carries_rows(records)]
    end = int(data["end_row"][-1]) if len(data) else 0
    try:
        return written_rows(segment, end) > end
    except (DamageError, OSError):
        return True


def _disputed(events: NDArray[Any]) -> Mask:
    """Return which data events do not begin where the one before them ends, and these: one of the two is wrong.

    Across an event that cannot be decoded nothing is disputed.
    """
    data = np.flatnonzero(carries_rows(events))
    rows = events[data]
    undecoded = np.cumsum(events["type"] == EventType.UNREADABLE)[data]
    before = np.concatenate(([0], rows["end"][:-1]))
    apart = np.concatenate((undecoded[:1] > 0, np.diff(undecoded) > 0))
    wrong = ((rows["start"] != before) & ~apart) | (rows["end"] < rows["start"])
    wrong[:-1] |= wrong[1:] & ~apart[1:]
    found = np.zeros(len(events), np.bool_)
    found[data[wrong]] = True
    return found


def _contradiction(segment: Segment) -> str:
    """Return why it is not certain which transactions a segment has, empty where it is."""
    if segment.whole and not segment.uncounted and not segment.beyond and not segment.problems:
        return ""
    if segment.problems:
        return segment.problems[0].what
    if segment.beyond:
        return f"{segment.beyond:,} whole records lie behind the last transaction that its header counts"
    return "its records do not reach its last transaction"
