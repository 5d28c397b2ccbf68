"""Files of the partitions that `_txn` names: which must exist, and how long each must be at least.

Lengths follow from row counts, sizes of the types, and the column tops of `_cv`. They are lower bounds: a server keeps
files of the last partition longer, in whole pages. Values are not read, but for one: the timestamp of the last row
tells whether the row count belongs to the file.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.column_files import column_path
from console.questdb.column_types import ColumnTag, is_variable, storage_size
from console.questdb.column_versions import ColumnVersions
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, DbFile, problem_of
from console.questdb.table_metadata import TableColumn, TableMetadata
from console.questdb.table_txn import TxnArea
from console.questdb.variable_columns import aux_shape, end_of_data

PARQUET: Final = "data.parquet"
_INDEX_HEADER: Final = 64
_UNPARTITIONED: Final = "NONE"


class FaultKind(StrEnum):
    """What is wrong with a partition or one of its files."""

    PARTITION_MISSING = "partition-missing"
    FILE_MISSING = "file-missing"
    FILE_SHORT = "file-short"
    ROWS_DIFFER = "rows-differ"  # the timestamps are not those that `_txn` counts
    INDEX_MISSING = "index-missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class PartitionSpan:
    """A partition as `_txn` names it: `rows` with those of the lag; `end` is where the next one begins (None: last)."""

    name: str
    directory: str
    start: int
    end: int | None
    rows: int
    parquet_size: int | None  # bytes of data.parquet, None for a native partition

    @property
    def last(self) -> bool:
        """Return whether it is the last partition, to which the next rows in order go."""
        return self.end is None


@dataclass(frozen=True, slots=True)
class PartitionFault:
    """One fault. `size` and `needed` are bytes; `others` are directories of the same partition under another name."""

    kind: FaultKind
    partition: PartitionSpan
    file: Path
    column: str = ""
    size: int | None = None
    needed: int | None = None
    what: str = ""
    others: tuple[str, ...] = ()


def spans_of(area: TxnArea, metadata: TableMetadata) -> tuple[PartitionSpan, ...]:
    """Return the partitions that `_txn` names and that hold rows, in order of time."""
    partitioning = Partitioning.of(metadata)
    if partitioning.unit == _UNPARTITIONED:
        count = area.transient_rows + area.lag_rows
        return (PartitionSpan("default", "default", 0, None, count, None),) if count else ()
    starts = area.partitions["timestamp"].astype(np.int64)
    rows = area.partitions["rows"].astype(np.int64).copy()
    if len(rows):
        rows[-1] += area.lag_rows
    return tuple(
        PartitionSpan(
            name=partitioning.name(int(starts[index])),
            directory=partitioning.directory(int(starts[index]), int(area.partitions["name_txn"][index])),
            start=int(starts[index]),
            end=int(starts[index + 1]) if index + 1 < len(starts) else None,
            rows=int(rows[index]),
            parquet_size=int(area.partitions["parquet_size"][index]) if area.partitions["parquet"][index] else None,
        )
        for index in np.flatnonzero(rows).tolist()
    )


def contradiction(area: TxnArea, metadata: TableMetadata) -> str:
    """Return how the partition table of `_txn` contradicts its own row counts, empty where it does not."""
    if Partitioning.of(metadata).unit == _UNPARTITIONED:
        return ""
    starts, rows = area.partitions["timestamp"].astype(np.int64), area.partitions["rows"].astype(np.int64)
    unordered = np.flatnonzero(starts[1:] <= starts[:-1])
    if len(unordered):
        return f"partition {int(unordered[0]) + 2} of {len(starts)} does not begin after the one before it"
    listed = int(rows[:-1].sum())
    if listed != area.fixed_rows:
        return f"its partitions but the last have {listed:,} rows, and it counts {area.fixed_rows:,}"
    if not len(rows) and area.transient_rows:
        return f"it counts {area.transient_rows:,} rows and names no partition"
    if len(rows) and area.rows and area.min_ts > area.max_ts:
        return f"it counts {area.rows:,} rows, whose oldest timestamp is newer than the newest"
    return ""


class PartitionFiles:
    """The files of one table's partitions, compared with what `_txn`, `_meta` and `_cv` say."""

    def __init__(self, table: Path, area: TxnArea, metadata: TableMetadata, versions: ColumnVersions) -> None:
        self._table, self._area, self._metadata, self._versions = table, area, metadata, versions
        self._columns = tuple(column for column in metadata.columns if not column.dropped)
        self.spans = spans_of(area, metadata)

    def directories(self) -> frozenset[str]:
        """Return the names in the table's directory, none where it cannot be listed."""
        try:
            return frozenset(os.listdir(self._table))  # noqa: PTH208 - names only
        except OSError:
            return frozenset()

    def faults(self, spans: Sequence[PartitionSpan] | None = None) -> Iterator[PartitionFault]:
        """Yield the faults of the partitions in order of time, one directory listing for each partition."""
        for span in self.spans if spans is None else spans:
            folder = self._table / span.directory
            try:
                sizes = _sizes(folder)
            except FileNotFoundError:
                yield PartitionFault(FaultKind.PARTITION_MISSING, span, folder, others=self._others(span))
                continue
            except OSError as error:
                yield PartitionFault(FaultKind.UNREADABLE, span, folder, what=problem_of(error, folder).what)
                continue
            if span.parquet_size is not None:
                yield from _length(span, folder / PARQUET, "", sizes.get(PARQUET), span.parquet_size)
            else:
                yield from self._native(span, folder, sizes)

    def _native(self, span: PartitionSpan, folder: Path, sizes: dict[str, int]) -> Iterator[PartitionFault]:
        found = False
        for column in self._columns:
            for fault in self._column(span, folder, sizes, column):
                found = True
                yield fault
        if not found and self._metadata.timestamp is not None:
            yield from self._last_row(span, folder, self._metadata.timestamp)

    def _column(
        self, span: PartitionSpan, folder: Path, sizes: dict[str, int], column: TableColumn
    ) -> Iterator[PartitionFault]:
        top = self._versions.top(span.start, column.index)
        if top is None or top >= span.rows:
            return
        name_txn, rows = self._versions.name_txn(span.start, column.index), span.rows - top
        try:
            data, aux = (column_path(folder, column.raw_name, suffix, name_txn) for suffix in ("d", "i"))
        except DamageError as damage:
            yield PartitionFault(FaultKind.UNREADABLE, span, folder, column.name, what=f"_meta gives {damage.what}")
            return
        width = storage_size(column.type_code)
        if is_variable(column.type_code):
            entry, more = aux_shape(column.tag)
            short = list(_length(span, aux, column.name, sizes.get(aux.name), entry * (rows + more)))
            yield from short
            needed = 0 if short else self._data_needed(column, aux, rows)
            yield from _length(span, data, column.name, sizes.get(data.name), needed)
        else:
            yield from _length(span, data, column.name, sizes.get(data.name), (width or 0) * rows)
        if column.indexed and column.tag is ColumnTag.SYMBOL:
            for suffix in ("k", "v"):
                path = column_path(folder, column.raw_name, suffix, name_txn)
                size = sizes.get(path.name)
                if size is None or (suffix == "k" and size < _INDEX_HEADER):
                    yield PartitionFault(FaultKind.INDEX_MISSING, span, path, column.name, size)

    def _data_needed(self, column: TableColumn, aux: Path, rows: int) -> int:
        """Return where the data of the last row ends, 0 where that cannot be read."""
        try:
            with DbFile(aux) as file:
                return end_of_data(column.tag, file, rows)
        except OSError:
            return 0

    def _last_row(self, span: PartitionSpan, folder: Path, column: TableColumn) -> Iterator[PartitionFault]:
        """Compare the timestamp of the last row with the bounds: a row count too high points behind the rows."""
        rows = span.rows - (self._area.lag_rows if span.last else 0)
        path = column_path(folder, column.raw_name, "d", self._versions.name_txn(span.start, column.index))
        if rows <= 0:
            return
        try:
            with DbFile(path) as file:
                first, last = (file.array(8 * row, "<i8", 1) for row in (0, rows - 1))
        except OSError as error:
            yield PartitionFault(FaultKind.UNREADABLE, span, path, column.name, what=problem_of(error, path).what)
            return
        if not len(first) or not len(last):
            return
        low, high = int(first[0]), int(last[0])
        if span.last and high != self._area.max_ts:
            what = f"its last row has timestamp {high}, and _txn says {self._area.max_ts}"
        elif low < span.start and self._metadata.partition_unit != _UNPARTITIONED:
            what = f"its first row has timestamp {low}, before the partition's {span.start}"
        elif high < low or (span.end is not None and high >= span.end):
            what = f"its last row has timestamp {high}, outside the partition"
        else:
            return
        yield PartitionFault(FaultKind.ROWS_DIFFER, span, path, column.name, what=what)

    def _others(self, span: PartitionSpan) -> tuple[str, ...]:
        """Return directories of the partition under another name, which the server deletes when it opens the table."""
        pattern = re.compile(re.escape(span.name) + r"(\.\d+)?")
        return tuple(sorted(name for name in self.directories() if pattern.fullmatch(name)))


def _length(span: PartitionSpan, path: Path, column: str, size: int | None, needed: int) -> Iterator[PartitionFault]:
    if size is None:
        yield PartitionFault(FaultKind.FILE_MISSING, span, path, column, None, needed)
    elif size < needed:
        yield PartitionFault(FaultKind.FILE_SHORT, span, path, column, size, needed)


def _sizes(folder: Path) -> dict[str, int]:
    """Return the lengths of the regular files in a directory, by name. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with os.scandir(descriptor) as entries:
            return {
                entry.name: entry.stat(follow_symlinks=False).st_size
                for entry in entries
                if entry.is_file(follow_symlinks=False)
            }
    finally:
        os.close(descriptor)
