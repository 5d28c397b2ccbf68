"""Whether the rows of a segment transaction are in the table: compared value by value, as multisets of row hashes.

Compared are the designated timestamp and every fixed-width column that nothing but inserts ever wrote. A row counts as
absent only where it would be there had it been applied: its partition exists, lies behind all others, or no partition
was ever removed; and the table was never truncated.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_files import partition_values, segment_timestamps, segment_values
from console.questdb.column_types import ColumnTag, value_dtype
from console.questdb.column_versions import SYMBOL_PARTITION, ColumnVersions, read_column_versions
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError
from console.questdb.table_metadata import TableColumn, TableMetadata
from console.recovery.sequencer.applied_prefix import Seen
from console.recovery.sequencer.disk import TableOnDisk
from console.table.inventory import Index, Mask, is_plain
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
        except DamageError as damage:
            self.why_not = clean_line(damage.what)
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
        except (DamageError, OSError):
            return True
        pairs = np.unique(np.stack((stamps, rows["wal"][owner].astype(np.int64))), axis=1)
        return bool(len(np.unique(pairs[0])) < pairs.shape[1])

    def _looked(self, events: Index, seen: NDArray[np.int64]) -> NDArray[np.int64]:
        table, designated = self._table, self._table.metadata.timestamp
        stamps, owner = self._timestamps(events)
        if designated is None or not len(stamps):
            return seen
        versions = read_column_versions(table.path)
        columns = self._comparable(events, _never_rewritten(table.metadata, versions))
        hashes = self._event_hashes(events, stamps, columns)
        floors = self._partitioning.floors(stamps)
        found = self._table_rows(stamps, floors, [designated, *columns], versions)
        behind = stamps > table.txn.max_ts
        # TxWriter raises the version with every partition that is removed (and some that are not): 0 means none was.
        never_removed = table.txn.partition_table_version == 0
        somewhere = np.isin(floors, found.floors) | behind | never_removed
        strong = somewhere & (table.txn.rows > 0) & (table.txn.truncate_version == 0)
        known = ~np.isin(floors, found.unreadable)
        by_time, by_row = _lookup(stamps, found.stamps), _lookup(hashes, found.hashes)
        only_time = table.metadata.has_dedup or not columns  # a row with the same keys may have replaced it since
        missing = strong & known & ((by_time == 0) if only_time else (by_row == 0))
        there = known & (by_row >= _lookup(hashes, hashes))
        count = np.bincount(owner, minlength=len(events))
        some_missing = np.bincount(owner, missing, len(events)) > 0
        all_there = (np.bincount(owner, there, len(events)) == count) & (count > 0)
        comparable = self._is_comparable(events)
        if not somewhere.all():
            self.why_not = (
                "rows of them belong to partitions that the table does not have: not applied yet, or dropped since"
            )
        seen[comparable & all_there] = Seen.PRESENT
        seen[comparable & some_missing] = Seen.ABSENT
        return seen

    def _table_rows(
        self, stamps: Index, floors: Index, columns: list[TableColumn], versions: ColumnVersions
    ) -> "_TableRows":
        """Return the table's rows that have one of `stamps`, lag rows included; `columns` begin with the timestamp."""
        table = self._table
        wanted, wanted_floors = np.unique(stamps), np.unique(floors)
        starts = self._partitioning.floors(np.asarray(table.txn.partitions["timestamp"]))
        there, times, hashes, unreadable = [], [], [], []
        for index, partition in enumerate(table.txn.partitions):
            there.append(int(starts[index]))
            if starts[index] not in wanted_floors:
                continue
            if partition["parquet"]:
                unreadable.append(int(starts[index]))
                continue
            lag = table.txn.lag_rows if index == len(starts) - 1 else 0
            rows = int(partition["rows"]) + lag
            mine: Index | None = None
            parts: list[NDArray[Any]] = []
            for column in columns:
                values = partition_values(table.path, self._partitioning, versions, partition, column, 0, rows).values
                if len(values) < rows:
                    raise DamageError(f"column {column.name} of a partition has {len(values):,} of {rows:,} rows")
                if mine is None:
                    place = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
                    mine = np.flatnonzero(wanted[place] == values)
                parts.append(values[mine])
            times.append(parts[0])
            hashes.append(_hashes(parts))
        return _TableRows(
            np.array(there, np.int64), np.array(unreadable, np.int64), _joined(times, "<i8"), _joined(hashes, "<u8")
        )

    def _is_comparable(self, events: Index) -> Mask:
        return is_plain(self._table.inventory.events[events])

    def _timestamps(self, events: Index) -> tuple[Index, Index]:
        """Return the timestamps of all rows of `events`, and for each the position of its event in `events`."""
        stamps: list[Index] = []
        owners: list[Index] = []
        for (wal, number), at in self._by_segment(events):
            rows = self._table.inventory.events[events[at]]
            end = int(rows["end"].max())
            chunks = [
                values["timestamp"] for _, values in segment_timestamps(self._table.segments[wal, number], 0, end)
            ]
            values = _joined(chunks, "<i8")
            if len(values) < end:
                raise DamageError(f"wal{wal}/{number} has the timestamps of {len(values):,} of {end:,} rows")
            for position, event in zip(at.tolist(), rows, strict=True):
                mine = values[int(event["start"]) : int(event["end"])]
                stamps.append(mine)
                owners.append(np.full(len(mine), position, np.int64))
        return _joined(stamps, "<i8"), _joined(owners, "<i8")

    def _by_segment(self, events: Index) -> list[tuple[tuple[int, int], Index]]:
        """Return the positions in `events` of those with comparable rows, by segment, in the order of `events`."""
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
            end = int(rows["end"].max())
            for collected, column in zip(parts, columns, strict=True):
                values = segment_values(self._table.segments[wal, number], column.index, 0, end)
                if len(values) < end:
                    raise DamageError(f"wal{wal}/{number} has {len(values):,} of {end:,} values of {column.name}")
                collected += [values[int(e["start"]) : int(e["end"])] for e in rows]
        return _hashes([stamps, *(np.concatenate(part) for part in parts)])


class _TableRows:
    """Rows of the table by timestamp and hash, the floors of its partitions, and of those that cannot be compared."""

    __slots__ = ("floors", "hashes", "stamps", "unreadable")

    def __init__(self, floors: Index, unreadable: Index, stamps: Index, hashes: _Hash) -> None:
        self.floors, self.unreadable, self.stamps, self.hashes = floors, unreadable, stamps, hashes


def _never_rewritten(metadata: TableMetadata, versions: ColumnVersions) -> list[TableColumn]:
    """Return the live fixed-width columns whose values are as they were inserted: never added later, updated, renamed.

    Symbols are left out (their keys differ between segment and table), and so is the designated timestamp.
    """
    touched = set(versions.entries["column"][versions.entries["partition"] != SYMBOL_PARTITION].tolist())
    return [
        column
        for column in metadata.columns
        if not column.dropped
        and column.index not in touched
        and column.index != metadata.timestamp_index
        and column.replaces is None
        and column.tag is not ColumnTag.SYMBOL
        and value_dtype(column.type_code) is not None
    ]


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


def _joined(parts: list[Any], dtype: str) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
