"""A time in a table: its partition, its row, and where that row is in the file of a column."""

from pathlib import Path

import numpy as np

from console.errors import WalmedicError
from console.questdb.column_types import is_nanos
from console.questdb.parquet_rows import first_row_since, read_layout
from console.questdb.partition_columns import PartitionFault, StoredColumn
from console.questdb.partition_files import PARQUET, PartitionFiles
from console.questdb.partition_spans import PartitionSpan
from console.questdb.reading import DamageError, DbFile
from console.text import clean_line
from screens.browser_column import ColumnFile


def place_of_time(table: Path, path: Path, text: str) -> tuple[Path, int, int]:
    """Return file, offset and row of the first row of a table that is at `text` (ISO, UTC) or later.

    The file is that of the same column as `path`, of the designated timestamp if that is no column's file; of a
    partition in Parquet it is `data.parquet`. Blocks; raises WalmedicError if there is no such row, or no such file.
    """
    partitions = PartitionFiles.of(table)
    if partitions is None:
        raise WalmedicError("_txn or _meta of the table cannot be read: they say which partitions it has")
    for span in partitions.spans:
        timestamp = _timestamp(partitions, span)
        wanted = _parsed(text, is_nanos(timestamp.column.type_code))
        if span.end is not None and span.end <= wanted:
            continue
        row = _row_since(table, span, timestamp, wanted)
        if row is not None:
            return _place(table, partitions, span, path, row)
    raise WalmedicError(f"all rows of the table are before {clean_line(text)}")


def _parsed(text: str, nanos: bool) -> int:
    try:
        return int(np.datetime64(text.removesuffix("Z"), "ns" if nanos else "us").astype(np.int64))
    except ValueError as error:
        raise WalmedicError(f"{clean_line(text)} is not a time such as 2025-11-10T03:26:00") from error


def _timestamp(partitions: PartitionFiles, span: PartitionSpan) -> StoredColumn:
    for each in partitions.columns_of(span):
        if isinstance(each, StoredColumn) and partitions.is_timestamp(each.column):
            return each
    raise WalmedicError("the table has no designated timestamp")


def _row_since(table: Path, span: PartitionSpan, timestamp: StoredColumn, wanted: int) -> int | None:
    """Return the first row of a partition that is at `wanted` or later, None if none is."""
    try:
        if span.parquet_size is not None:
            path = table / span.directory / PARQUET
            return first_row_since(path, read_layout(path).groups, timestamp.column.raw_name, wanted)
        with DbFile(timestamp.data) as file:
            low, high = 0, min(timestamp.rows, file.size // 8)
            while low < high:
                middle = (low + high) // 2
                if int(file.array(8 * middle, "<i8", 1)[0]) < wanted:
                    low = middle + 1
                else:
                    high = middle
            return low if low < min(timestamp.rows, file.size // 8) else None
    except ImportError as error:
        raise WalmedicError(f"partition {span.name} is in Parquet, and pyarrow is not installed") from error
    except DamageError as damage:
        raise WalmedicError(f"partition {span.name} cannot be decoded: {damage.what}") from damage
    except OSError as error:
        why = clean_line(error.strerror or str(error))
        raise WalmedicError(f"the timestamps of partition {span.name} cannot be read: {why}") from error


def _place(table: Path, partitions: PartitionFiles, span: PartitionSpan, path: Path, row: int) -> tuple[Path, int, int]:
    if span.parquet_size is not None:
        file = table / span.directory / PARQUET
        group = next(each for each in read_layout(file).groups if each.first <= row < each.first + each.rows)
        return file, group.chunks[0].offset, row
    index, aux = _column_of(partitions, path)
    for each in partitions.columns_of(span):
        if isinstance(each, PartitionFault) or (index is None and not partitions.is_timestamp(each.column)):
            continue
        if index in (None, each.column.index):
            file = each.aux if aux else each.data
            column = ColumnFile.of(file)
            if column is None:
                break
            try:
                return file, column.offset_of(row), row
            finally:
                column.close()
    raise WalmedicError(f"partition {span.name} has no file of this column: go there from another one")


def _column_of(partitions: PartitionFiles, path: Path) -> tuple[int | None, bool]:
    """Return the index of the column that `path` is a file of, None for no column; and whether it is its `.i`."""
    for span in partitions.spans:
        if span.directory == path.parent.name:
            for each in partitions.columns_of(span):
                if isinstance(each, StoredColumn) and path in (each.data, each.aux):
                    return each.column.index, path == each.aux
    return None, False
