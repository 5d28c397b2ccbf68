"""Reading columns as they lie in WAL segments and in a table's partitions: whole arrays, by pread, never mapped."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_types import ColumnTag, value_dtype
from console.questdb.column_versions import DEFAULT_PARTITION, SYMBOL_PARTITION, ColumnVersions
from console.questdb.reading import DbFile
from console.questdb.segment import Segment
from console.questdb.table_metadata import TableColumn, TableMetadata
from console.questdb.table_txn import TxnArea
from console.recovery.partitioning import Partitioning

WAL_TIMESTAMP: Final = np.dtype([("timestamp", "<i8"), ("row", "<i8")])
"""The designated timestamp of a segment's row, with the row's number in the segment (WalWriter.putTimestamp)."""


class ColumnMissingError(Exception):
    """A column file that is not there, or ends before its rows do; the text says which."""


@dataclass(frozen=True, slots=True)
class PartitionFiles:
    """One partition on disk: `rows` of it, lag rows included, lie in the files of `path`."""

    timestamp: int
    rows: int
    path: Path
    parquet: bool


def partitions_of(table: Path, txn: TxnArea, partitioning: Partitioning) -> list[PartitionFiles]:
    """Return the table's partitions in time order; the lag's rows stand behind those of the last one."""
    found = []
    for index, each in enumerate(txn.partitions):
        start, suffix = int(each["timestamp"]), int(each["name_txn"])
        name = directory_name(start, partitioning) + (f".{suffix}" if suffix >= 0 else "")
        lag = txn.lag_rows if index == len(txn.partitions) - 1 else 0
        found.append(PartitionFiles(start, int(each["rows"]) + lag, table / name, bool(each["parquet"])))
    return found


def directory_name(start: int, partitioning: Partitioning) -> str:
    """Return the directory of a partition without its suffix; a split one begins inside a unit (PartitionBy.java)."""
    floor = int(partitioning.floors(np.array([start], np.int64))[0])
    if floor == start or partitioning.unit == "NONE":
        return partitioning.name(start)
    seconds, rest = divmod(start, partitioning.per_second)
    at = np.datetime64(seconds, "s").item()
    return f"{at:%Y-%m-%dT%H%M%S}-{rest:0{9 if partitioning.nanos else 6}d}"


def never_rewritten(metadata: TableMetadata, versions: ColumnVersions) -> list[TableColumn]:
    """Return the live fixed-width columns whose values are as they were inserted: never added later, updated, renamed.

    Symbols are left out (their keys differ between segment and table), and so is the designated timestamp.
    """
    touched = set(versions.entries["column"][versions.entries["partition"] != SYMBOL_PARTITION].tolist())
    defaults = versions.entries["partition"] == DEFAULT_PARTITION
    touched |= set(versions.entries["column"][defaults].tolist())
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


def segment_timestamps(segment: Segment, rows: int) -> NDArray[Any]:
    """Return the first `rows` timestamps of a segment as WAL_TIMESTAMP. Raises ColumnMissingError, OSError."""
    column = segment.metadata.timestamp if segment.metadata is not None else None
    if column is None:
        raise ColumnMissingError(f"{segment.path}/_meta names no designated timestamp")
    return _array(segment.path / f"{column.raw_name}.d", WAL_TIMESTAMP, rows)


def segment_column(segment: Segment, index: int, rows: int) -> NDArray[Any]:
    """Return the first `rows` values of fixed-width column `index` of a segment. Raises ColumnMissingError, OSError."""
    columns = segment.metadata.columns if segment.metadata is not None else ()
    dtype = value_dtype(columns[index].type_code) if index < len(columns) and not columns[index].dropped else None
    if dtype is None:
        raise ColumnMissingError(f"{segment.path} has no fixed-width column {index}")
    return _array(segment.path / f"{columns[index].raw_name}.d", dtype, rows)


def partition_column(partition: PartitionFiles, column: TableColumn, versions: ColumnVersions) -> NDArray[Any]:
    """Return a whole fixed-width column of a partition. Raises ColumnMissingError, OSError."""
    dtype = value_dtype(column.type_code)
    if dtype is None:
        raise ColumnMissingError(f"{column.name} has no fixed width")
    suffix = versions.name_txn(partition.timestamp, column.index)
    name = f"{column.raw_name}.d" + (f".{suffix}" if suffix >= 0 else "")
    return _array(partition.path / name, dtype, partition.rows)


def _array(path: Path, dtype: "np.dtype[Any]", rows: int) -> NDArray[Any]:
    try:
        with DbFile(path) as file:
            values = file.array(0, dtype, rows)
    except FileNotFoundError as error:
        raise ColumnMissingError(f"{path} is missing") from error
    if len(values) < rows:
        raise ColumnMissingError(f"{path} ends after {len(values):,} of {rows:,} rows")
    return values
