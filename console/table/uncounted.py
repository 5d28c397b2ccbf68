"""Rows in a table's directories that its `_txn` does not count, and whether the WAL on disk has them.

A writer that is cut off while it applies leaves rows, or the directory of a new partition, that `_txn` does not count;
the WAL still has all of their times. The directory of a new partition whose times no WAL has is of a later state than
`_txn`. Rows behind the count may also be of WAL that was skipped, left out or exported since:

    2024-01-03.1   00:00 … 11:39    wal3 has 12:00 … 12:59    of a later state
    2024-01-03.1   12:00 … 12:30    wal3 has 12:00 … 12:59    left by a writer that was cut off
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_files import column_path, partition_path
from console.questdb.column_versions import read_column_versions
from console.questdb.fields import I64_MAX
from console.questdb.layout import wal_directories
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, DbFile, Problem
from console.questdb.sequencer_metadata import read_sequencer_metadata
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea
from console.questdb.timestamps import rising_rows
from console.text import clean_line, plural

MOST_TIMES: Final = 1 << 16
"""Times of one place that are looked up in the WAL."""
_PLACES: Final = 256
"""Directories of new partitions that are looked at: a back-fill that is cut off leaves one for each day."""


@dataclass(frozen=True, slots=True)
class Uncounted:
    """Rows that `_txn` does not count: where, as a clause, and their times, `MOST_TIMES` at most, ascending."""

    words: str
    times: NDArray[np.int64]


def in_new_directories(
    table: Path, metadata: TableMetadata, area: TxnArea, named: Sequence[tuple[int, str, int]]
) -> list[Uncounted]:
    """Return the rows in directories of new partitions; one may have no time that can be read.

    `named` are transaction, directory and begin of the partition directories, ascending.
    """
    days, found = Partitioning.of(metadata), []
    for name, start in islice(unnamed(named, metadata, area), _PLACES):
        end, path = days.unit_end(start), _timestamps(table, table / name, metadata, start)
        times = _times(_Place(path, 0, max(1, start), I64_MAX if end is None else end))
        found.append(Uncounted(clean_line(name), times))
    return found


def of_no_wal(table: Path, metadata: TableMetadata, uncounted: Iterable[Uncounted]) -> list[Uncounted]:
    """Return those of the places that have more rows of some time than the WAL on disk; none if that cannot be read.

    The WAL is listed only now, after these rows were read: what a server that runs applies is in it until it counts.
    """
    rows = [each for each in uncounted if len(each.times)]
    if not rows:
        return []
    wanted, counts = np.unique(np.concatenate([each.times for each in rows]), return_counts=True)
    held = np.zeros(len(wanted), np.int64)
    for path in (wal.segment(number) for wal in wal_directories(table) for number in wal.segments):
        try:
            for times in _times_in(path, metadata):
                at = np.minimum(np.searchsorted(wanted, times), len(wanted) - 1)
                held += np.bincount(at[wanted[at] == times], minlength=len(wanted))
        except FileNotFoundError:
            continue
        except (OSError, DamageError):
            return []
    more = wanted[held < counts]
    return [each for each in rows if np.isin(each.times, more).any()]


def unnamed(named: Sequence[tuple[int, str, int]], metadata: TableMetadata, area: TxnArea) -> Iterator[tuple[str, int]]:
    """Yield directory and begin of new partitions that were made after `area`: so named they are of the next
    transaction.

    A part that was split off can be left by its own.
    """
    held, days = set(area.partitions["timestamp"].tolist()), Partitioning.of(metadata)
    for txn, name, start in named:
        if txn >= area.txn - 1 and start not in held and days.floors(np.array([start]))[0] == start:
            yield name, start


def behind_the_count(table: Path, metadata: TableMetadata, area: TxnArea) -> Iterator[Uncounted]:
    """Yield the rows behind those that `area` counts, of later times than these, from the newest partition on.

    Late rows are appended to an earlier one in place. One that was split holds the rows of its later parts there.
    """
    last = len(area.partitions) - 1
    units = Partitioning.of(metadata).floors(area.partitions["timestamp"])
    for at in range(last, -1, -1):
        if at < last and units[at] == units[at + 1]:
            continue
        place = _behind(table, metadata, area, at)
        times = _times(place)
        times = times[times > place.newest]  # one of the very time of the last may be what the lag left there
        if len(times):
            where = f"what follows the {plural(place.row, 'row')} of {clean_line(place.path.parent.name)}"
            yield Uncounted(where, times)


def rows_behind(table: Path, metadata: TableMetadata, area: TxnArea) -> tuple[int, Path]:
    """Return how many rows, of rising times, the newest partition has behind those that `area` counts, and its file.

    Of a WAL table none if the WAL has them, and of a view none: a refresh may replace what was there.
    """
    place = _behind(table, metadata, area, -1)
    if metadata.wal and ((table / "_mv").exists() or not of_no_wal(table, metadata, _newest(place))):
        return 0, place.path
    try:
        with DbFile(place.path) as file:
            return rising_rows(file, place.row, place.newest, place.end), place.path
    except (OSError, DamageError):
        return 0, place.path


def _newest(place: "_Place") -> list[Uncounted]:
    times = _times(place)
    return [Uncounted("", times[times > place.newest])]


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
    path = _timestamps(table, partition_path(table, days, partition), metadata, int(partition["timestamp"]))
    newest = [area.max_ts, area.lag_max_ts] if last else _values(path, max(0, rows - 1), 1).tolist()
    end = days.unit_end(int(partition["timestamp"]))
    return _Place(path, rows, max([1, *newest]), I64_MAX if end is None else end)


def _timestamps(table: Path, folder: Path, metadata: TableMetadata, start: int) -> Path:
    """Return the file of the designated timestamp, which a RENAME COLUMN gives another suffix; the table's directory,
    which is no file, if it can have none.
    """
    column = metadata.timestamp
    if column is None:
        return table
    try:
        return column_path(folder, column.raw_name, "d", read_column_versions(table).name_txn(start, column.index))
    except DamageError:  # a damaged `_meta` can give it a name that no file has
        return table


def _times(place: _Place) -> NDArray[np.int64]:
    """Return the times behind a place that rise and lie below the end; none if the file cannot be read."""
    values = _values(place.path, place.row, MOST_TIMES)
    before = np.concatenate(([place.newest], values[:-1]))
    wrong = np.flatnonzero((values < before) | (values >= place.end))
    return values[: int(wrong[0])] if len(wrong) else values


def _values(path: Path, at: int, count: int) -> NDArray[np.int64]:
    try:
        with DbFile(path) as file:
            return file.array(8 * at, "<i8", count)
    except (OSError, DamageError):
        return np.empty(0, np.int64)


def _times_in(segment: Path, metadata: TableMetadata) -> Iterator[NDArray[np.int64]]:
    """Yield the times in a segment's timestamp column, of whatever event. Raises OSError, DamageError."""
    own = read_sequencer_metadata(segment, of_segment=True)
    column = metadata.timestamp if isinstance(own, Problem) else own.timestamp  # it may have had another name
    with DbFile(column_path(segment, column.raw_name if column else "", "d")) as file:
        for at in range(0, file.size, 16 * MOST_TIMES):
            yield file.array(at, "<i8", 2 * MOST_TIMES)[::2]
