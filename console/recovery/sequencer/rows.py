"""Whether the rows of a segment transaction are in the table: compared value by value, as multisets of row hashes.

Compared are the designated timestamp and every fixed-width column that nothing but inserts ever wrote. A row counts as
absent only where it would be there had it been applied: its partition exists, or lies behind all others, and the table
was never truncated.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_versions import read_column_versions
from console.questdb.table_metadata import TableColumn
from console.recovery.partitioning import Partitioning
from console.recovery.sequencer import column_files
from console.recovery.sequencer.column_files import ColumnMissingError
from console.recovery.sequencer.cuts import Seen
from console.recovery.sequencer.disk import TableOnDisk
from console.recovery.sequencer.inventory import DATA, REPLACE_RANGE, Index, Mask
from console.text import clean_line

MAX_ROWS: Final = 60_000_000
"""Rows of segments that are compared at most: beyond it the comparison would take minutes and gigabytes."""

_Hash = NDArray[np.uint64]


class RowComparison:
    """Compares events of `table` with its partitions. `possible` is False where that can say nothing, `why_not` why."""

    def __init__(self, table: TableOnDisk) -> None:
        self._table = table
        self._partitioning = Partitioning.of(table.metadata)
        self.why_not = ""
        if table.metadata.timestamp is None:
            self.why_not = "the table has no designated timestamp, so rows cannot be compared"
        elif table.directory.is_view:
            self.why_not = "a view replaces its rows, so rows cannot be compared"

    @property
    def possible(self) -> bool:
        """Whether `look` can say anything."""
        return not self.why_not

    def look(self, events: Index) -> NDArray[Any]:
        """Return a `Seen` for each of `events`."""
        seen = np.full(len(events), Seen.UNKNOWN, np.int64)
        if int(self._table.inventory.rows[events].sum()) > MAX_ROWS:
            self.why_not = "the rows are too many to compare"
            return seen
        try:
            return self._looked(events, seen)
        except ColumnMissingError as error:
            self.why_not = clean_line(str(error))
        except OSError as error:
            self.why_not = clean_line(f"{error.filename}: {error.strerror}")
        return np.full(len(events), Seen.UNKNOWN, np.int64)

    def shared_keys(self, events: Index) -> bool:
        """Return whether events of different WALs among `events` have rows of the same timestamp; True if not known."""
        rows = self._table.inventory.events[events]
        if len(np.unique(rows["wal"])) < 2:
            return False
        try:
            stamps, owner = self._timestamps(events)
        except (ColumnMissingError, OSError):
            return True
        pairs = np.unique(np.stack((stamps, rows["wal"][owner].astype(np.int64))), axis=1)
        return bool(len(np.unique(pairs[0])) < pairs.shape[1])

    def _looked(self, events: Index, seen: NDArray[np.int64]) -> NDArray[np.int64]:
        table = self._table
        stamps, owner = self._timestamps(events)
        if not len(stamps):
            return seen
        designated = table.metadata.timestamp
        if designated is None:
            return seen
        versions = read_column_versions(table.path)
        columns = self._comparable(events, column_files.never_rewritten(table.metadata, versions))
        hashes = self._event_hashes(events, stamps, columns)
        wanted = np.unique(stamps)
        floors = self._partitioning.floors(stamps)
        there, table_stamps, table_hashes, unreadable = [], [], [], []
        partitions = column_files.partitions_of(table.path, table.txn, self._partitioning)
        wanted_floors = np.unique(floors)
        for partition in partitions:
            floor = int(self._partitioning.floors(np.array([partition.timestamp], np.int64))[0])
            there.append(floor)
            if floor not in wanted_floors:
                continue
            if partition.parquet:
                unreadable.append(floor)
                continue
            values = column_files.partition_column(partition, designated, versions)
            place = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
            mine = np.flatnonzero(wanted[place] == values)
            parts = [values[mine]]
            parts += [column_files.partition_column(partition, column, versions)[mine] for column in columns]
            table_stamps.append(values[mine])
            table_hashes.append(_hashes(parts))
        strong = np.isin(floors, np.array(there, np.int64)) | (stamps > table.txn.max_ts)
        strong &= table.txn.rows > 0
        strong &= table.txn.truncate_version == 0
        known = ~np.isin(floors, np.array(unreadable, np.int64))
        by_time = _lookup(stamps, _joined(table_stamps, np.int64))
        by_row = _lookup(hashes, _joined(table_hashes, np.uint64))
        rivals = _lookup(hashes, hashes)
        dedup = table.metadata.has_dedup
        missing = strong & known & ((by_time == 0) if dedup or not columns else (by_row == 0))
        there_rows = known & (by_row >= rivals)
        count = np.bincount(owner, minlength=len(events))
        some_missing = np.bincount(owner, missing, len(events)) > 0
        all_there = (np.bincount(owner, there_rows, len(events)) == count) & (count > 0)
        comparable = self._is_comparable(events)
        seen[comparable & all_there] = Seen.PRESENT
        seen[comparable & some_missing] = Seen.ABSENT
        return seen

    def _is_comparable(self, events: Index) -> Mask:
        rows = self._table.inventory.events[events]
        return np.asarray((rows["type"] == DATA) & (rows["mode"] != REPLACE_RANGE))

    def _timestamps(self, events: Index) -> tuple[Index, Index]:
        """Return the timestamps of all rows of `events`, and for each the position of its event in `events`."""
        stamps: list[Index] = []
        owners: list[Index] = []
        for (wal, number), at in self._by_segment(events):
            rows = self._table.inventory.events[events[at]]
            values = column_files.segment_timestamps(self._table.segments[wal, number], int(rows["end"].max()))
            for position, event in zip(at.tolist(), rows, strict=True):
                mine = values["timestamp"][int(event["start"]) : int(event["end"])]
                stamps.append(mine)
                owners.append(np.full(len(mine), position, np.int64))
        return _joined(stamps, np.int64), _joined(owners, np.int64)

    def _by_segment(self, events: Index) -> list[tuple[tuple[int, int], Index]]:
        """Return the positions in `events` of the comparable ones, by segment, in the order of `events`."""
        rows = self._table.inventory.events[events]
        use = np.flatnonzero(self._is_comparable(events) & (rows["end"] > rows["start"]))
        found: dict[tuple[int, int], list[int]] = {}
        for at in use.tolist():
            found.setdefault((int(rows["wal"][at]), int(rows["segment"][at])), []).append(at)
        return [(key, np.array(at, np.int64)) for key, at in found.items()]

    def _comparable(self, events: Index, columns: list[TableColumn]) -> list[TableColumn]:
        """Return those of `columns` that every segment of `events` has with the same type."""
        kept = columns
        for key, _ in self._by_segment(events):
            metadata = self._table.segments[key].metadata
            theirs = metadata.columns if metadata is not None else ()
            kept = [
                c for c in kept if c.index < len(theirs) and not theirs[c.index].dropped
                and theirs[c.index].type_code == c.type_code
            ]  # fmt: skip
        return kept

    def _event_hashes(self, events: Index, stamps: Index, columns: list[TableColumn]) -> _Hash:
        parts: list[list[NDArray[Any]]] = [[] for _ in columns]
        for (wal, number), at in self._by_segment(events):
            rows = self._table.inventory.events[events[at]]
            segment = self._table.segments[wal, number]
            for collected, column in zip(parts, columns, strict=True):
                values = column_files.segment_column(segment, column.index, int(rows["end"].max()))
                collected += [values[int(e["start"]) : int(e["end"])] for e in rows]
        return _hashes([stamps, *(np.concatenate(part) for part in parts)])


def _hashes(columns: list[NDArray[Any]]) -> _Hash:
    """Return a 64-bit hash per row over the raw bits of `columns` (splitmix64 steps)."""
    total: _Hash = np.full(len(columns[0]), 0x9E3779B97F4A7C15, np.uint64)
    for column in columns:
        for word in _words(np.ascontiguousarray(column)):
            total = total ^ word
            total = (total ^ (total >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            total = (total ^ (total >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            total = total ^ (total >> np.uint64(31))
    return total


def _words(column: NDArray[Any]) -> list[_Hash]:
    size = column.dtype.itemsize
    if size <= 8:
        return [column.view(f"<u{size}").astype(np.uint64)]
    words = column.view("<u8").reshape(len(column), -1)
    return [words[:, at] for at in range(words.shape[1])]


def _lookup(values: NDArray[Any], among: NDArray[Any]) -> Index:
    """Return how often each of `values` is in `among`."""
    if not len(among):
        return np.zeros(len(values), np.int64)
    distinct, counts = np.unique(among, return_counts=True)
    place = np.minimum(np.searchsorted(distinct, values), len(distinct) - 1)
    return np.where(distinct[place] == values, counts[place], 0)


def _joined(parts: list[Any], dtype: Any) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
