"""Column files of WAL segments and of table partitions: where they are, and bounded reads of rows from them.

A fixed-width column is `<name>.d`, one value per row; the designated timestamp of a segment has 16 bytes per row:
timestamp and row id. A variable-width column is `<name>.d` with the auxiliary `<name>.i`. In a partition the names may
carry the suffix `.<txn>` that `_cv` gives, and the rows before the column's top have no value in the file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_types import value_dtype
from console.questdb.column_versions import ColumnVersions
from console.questdb.formats import segment
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, DbFile
from console.questdb.segment import Segment
from console.questdb.table_metadata import TableColumn

TIMESTAMP_ROW: Final = segment.TIMESTAMP_ROW.dtype
"""One row of a segment's designated timestamp; `row` is its number in the segment."""
_LONE: Final = re.compile("[\ud800-\udfff]")
_CHUNK: Final = 1 << 16
_MAX_ROWS: Final = 1 << 27
"""Rows of a segment that are looked at: a segment rolls over long before."""


@dataclass(frozen=True, slots=True)
class ColumnRows:
    """Values of rows `first`, `first` + 1, … of a partition's column. Rows asked for before `first` are null."""

    first: int
    values: NDArray[Any]


def column_path(directory: Path, raw_name: str, suffix: str, name_txn: int = -1) -> Path:
    """Return the file of a column. Raises DamageError for a name that could lead out of `directory`."""
    return directory / column_file(raw_name, suffix, name_txn)


def column_file(raw_name: str, suffix: str, name_txn: int = -1) -> str:
    """Return the name of a column's file. Raises DamageError as `column_path`."""
    if not raw_name or "/" in raw_name or "\0" in raw_name or raw_name in (".", "..") or _LONE.search(raw_name):
        raise DamageError("a column name that no file can have")
    return f"{raw_name}.{suffix}" + (f".{name_txn}" if name_txn > -1 else "")


def segment_timestamps(segment: Segment, first: int, end: int) -> Iterator[tuple[int, NDArray[np.void]]]:
    """Yield (first row, TIMESTAMP_ROW array) for the rows first..end - 1 of a segment, short where the file ends.

    Raises DamageError where the segment's `_meta` names no designated timestamp, OSError where the file cannot be read.
    """
    column = segment.metadata.timestamp if segment.metadata else None
    if column is None:
        raise DamageError("the segment's metadata names no designated timestamp")
    with DbFile(column_path(segment.path, column.raw_name, "d")) as file:
        for at in range(max(0, first), end, _CHUNK):
            rows = file.array(at * TIMESTAMP_ROW.itemsize, TIMESTAMP_ROW, min(_CHUNK, end - at))
            if not len(rows):
                return
            yield at, rows


def written_rows(segment: Segment, first: int = 0) -> int:
    """Return how many rows a writer has put into the designated timestamp, whether they were committed or not.

    Only rows from `first` on are read: 0 if there is none. Each row's id is its number, and the room behind the last
    one is zeros. Raises as `segment_timestamps`.
    """
    end = 0
    for at, rows in segment_timestamps(segment, first, _MAX_ROWS):
        own = (rows["row"] == np.arange(at, at + len(rows))) & ((rows["row"] > 0) | (rows["timestamp"] != 0))
        if own.any():
            end = at + int(np.flatnonzero(own)[-1]) + 1
    return end


def partition_path(table: Path, partitioning: Partitioning, partition: np.void) -> Path:
    """Return the directory of an attached partition (a PARTITION row of `_txn`)."""
    return table / partitioning.directory(int(partition["timestamp"]), int(partition["name_txn"]))


def partition_values(
    table: Path,
    partitioning: Partitioning,
    versions: ColumnVersions,
    partition: np.void,
    column: TableColumn,
    first: int,
    end: int,
) -> ColumnRows:
    """Return the rows first..end - 1 of a fixed-width column in a native partition.

    Timestamps have 8 bytes per row here. Rows up to the lag's end can be read: the partition's rows are only those that
    are visible. Raises DamageError for a Parquet partition or variable width, OSError where the file cannot be read.
    """
    dtype = value_dtype(column.type_code)
    if dtype is None or bool(partition["parquet"]):
        raise DamageError(f"column {column.name} of this partition has no fixed-width file")
    timestamp = int(partition["timestamp"])
    top = versions.top(timestamp, column.index)
    if top is None or top >= end:
        return ColumnRows(end, np.empty(0, dtype))
    start = max(first, top)
    name_txn = versions.name_txn(timestamp, column.index)
    path = column_path(partition_path(table, partitioning, partition), column.raw_name, "d", name_txn)
    with DbFile(path) as file:
        return ColumnRows(start, file.array((start - top) * dtype.itemsize, dtype, end - start))
