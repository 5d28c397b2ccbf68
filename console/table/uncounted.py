"""Rows in a table's directories that its `_txn` does not count, and whether the WAL on disk has them.

A writer that is cut off while it applies leaves rows, or the directory of a new partition, that `_txn` does not count;
the WAL still has all of their times. Rows that no WAL has are of a later state than `_txn`:

    2024-01-03.1   00:00 … 11:39    wal3 has 12:00 … 12:59    of a later state
    2024-01-03.1   12:00 … 12:30    wal3 has 12:00 … 12:59    left by a writer that was cut off
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_files import column_path, partition_path
from console.questdb.fields import I64_MAX
from console.questdb.layout import wal_directories
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, DbFile
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea
from console.table.timestamps import rising_rows
from console.text import clean_line, plural

_MOST: Final = 1 << 16
"""Times of one place that are looked up in the WAL."""
_RECENT: Final = 32
"""Partitions, from the newest on, whose files are read behind the count: late rows are appended to one in place."""


@dataclass(frozen=True, slots=True)
class Uncounted:
    """Rows that `_txn` does not count: where, as a clause, and their times, the first `_MOST` of them, ascending."""

    words: str
    times: NDArray[np.int64]


def uncounted_rows(
    table: Path, metadata: TableMetadata, area: TxnArea, named: Sequence[tuple[int, str, int]]
) -> list[Uncounted]:
    """Return the rows in directories of new partitions, and those behind the counted ones of the newest partitions.

    `named` are transaction, directory and begin of the partition directories, ascending.
    """
    days, column = Partitioning.of(metadata), metadata.timestamp
    if column is None:
        return []
    found = []
    for name, start in unnamed(named, metadata, area):
        end, path = days.unit_end(start), column_path(table / name, column.raw_name, "d")
        times = _times(_Place(path, 0, max(1, start), I64_MAX if end is None else end))
        found.append(Uncounted(clean_line(name), times))
    return [*found, *(() if (table / "_mv").exists() else _behind_the_count(table, metadata, area))]


def of_no_wal(table: Path, metadata: TableMetadata, uncounted: Sequence[Uncounted], *, settled: bool) -> str:
    """Return where rows are whose times no WAL on disk has, as a clause; empty if all of them are in the WAL.

    `settled`: no WAL waits, so that a directory without a time that can be read is of none either. The WAL is listed
    only now, after these rows were read: what a server that runs applies is in it until it counts.
    """
    if not uncounted:
        return ""
    left = np.unique(np.concatenate([each.times for each in uncounted]))
    wals = wal_directories(table)
    for path in (wal.segment(number) for wal in wals for number in wal.segments):
        if len(left):
            left = left[~np.isin(left, _times_in(path, metadata, int(left[0]), int(left[-1])))]
    return next((e.words for e in uncounted if np.isin(e.times, left).any() or (settled and not len(e.times))), "")


def unnamed(named: Sequence[tuple[int, str, int]], metadata: TableMetadata, area: TxnArea) -> Iterator[tuple[str, int]]:
    """Yield directory and begin of new partitions that were made after `area`: so named they are of the next
    transaction.

    A part that was split off can be left by its own.
    """
    held, days = set(area.partitions["timestamp"].tolist()), Partitioning.of(metadata)
    for txn, name, start in named:
        if txn >= area.txn - 1 and start not in held and days.floors(np.array([start]))[0] == start:
            yield name, start


def _behind_the_count(table: Path, metadata: TableMetadata, area: TxnArea) -> Iterator[Uncounted]:
    """Yield the rows behind those that `area` counts, of later times than these.

    A partition that was split holds the rows of its later parts there.
    """
    days, last = Partitioning.of(metadata), len(area.partitions) - 1
    units = days.floors(area.partitions["timestamp"])
    whole = [at for at in range(last + 1) if at == last or units[at] != units[at + 1]]
    for at in whole[: -_RECENT - 1 : -1]:
        place = _behind(table, metadata, area, at)
        times = _times(place)
        times = times[times > place.newest]  # one of the very time of the last may be what the lag left there
        if len(times):
            where = f"what follows the {plural(place.row, 'row')} of {clean_line(place.path.parent.name)}"
            yield Uncounted(where, times)


def rows_behind(table: Path, metadata: TableMetadata, area: TxnArea) -> int:
    """Return how many rows, of rising times, the newest partition has behind those that `area` counts."""
    place = _behind(table, metadata, area, -1)
    try:
        with DbFile(place.path) as file:
            return rising_rows(file, place.row, place.newest, place.end)
    except (OSError, DamageError):
        return 0


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the counted rows of a partition end: its file, the first row behind, the newest time, the unit's end."""

    path: Path
    row: int
    newest: int
    end: int


def _behind(table: Path, metadata: TableMetadata, area: TxnArea, at: int) -> _Place:
    """Return where rows behind those that `area` counts would be; the path is the table's own where none can be.

    A writer that was cut off leaves such rows, which were never committed; so does a `_txn` of before they were. Times
    behind the end of the partition's unit are what the lag left there.
    """
    column = metadata.timestamp
    if column is None or not len(area.partitions) or area.partitions[at]["parquet"]:
        return _Place(table, 0, 0, 0)
    days, partition, last = Partitioning.of(metadata), area.partitions[at], at in (-1, len(area.partitions) - 1)
    rows = int(partition["rows"]) + (area.lag_rows if last else 0)
    path = column_path(partition_path(table, days, partition), column.raw_name, "d")
    newest = [area.max_ts, area.lag_max_ts] if last else _values(path, max(0, rows - 1), 1).tolist()
    end = days.unit_end(int(partition["timestamp"]))
    return _Place(path, rows, max([1, *newest]), I64_MAX if end is None else end)


def _times(place: _Place) -> NDArray[np.int64]:
    """Return the times behind a place that rise and lie below the end; none if the file cannot be read."""
    try:
        with DbFile(place.path) as file:
            rows = rising_rows(file, place.row, place.newest, place.end)
            return file.array(8 * place.row, "<i8", min(rows, _MOST))
    except (OSError, DamageError):
        return np.empty(0, np.int64)


def _values(path: Path, at: int, count: int) -> NDArray[np.int64]:
    try:
        with DbFile(path) as file:
            return file.array(8 * at, "<i8", count)
    except (OSError, DamageError):
        return np.empty(0, np.int64)


def _times_in(segment: Path, metadata: TableMetadata, low: int, high: int) -> NDArray[np.int64]:
    """Return the times in `low` … `high` that a segment's timestamp column has, in whatever event."""
    column = metadata.timestamp
    found = []
    try:
        with DbFile(column_path(segment, column.raw_name if column else "", "d")) as file:
            for at in range(0, file.size, 16 * _MOST):
                times = file.array(at, "<i8", 2 * _MOST)[::2]
                found.append(np.unique(times[(times >= low) & (times <= high)]))
    except (OSError, DamageError):
        pass
    return np.concatenate(found) if found else np.empty(0, np.int64)
