"""Where the values of a column's file are: in a native partition as `_txn` needs it, or in a WAL segment."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from console.questdb.column_files import TIMESTAMP_ROW, column_path
from console.questdb.column_types import is_variable, storage_size, tag_of
from console.questdb.partition_columns import PartitionFault
from console.questdb.partition_files import PartitionFiles
from console.questdb.reading import DamageError
from console.questdb.segment import Segment, read_segment
from console.questdb.segment_rows import SegmentRows
from console.questdb.symbol_values import read_symbol
from console.questdb.table_metadata import TableColumn
from console.questdb.variable_columns import aux_shape
from console.recovery.salvage.cells import cells_of


@dataclass(frozen=True, slots=True)
class ColumnPlace:
    """The files of a column and the `rows` in them, which follow `top` rows that were there before the column.

    `entries` is the file with an entry of `width` bytes for each row, and `more` entries behind them. `symbol` returns
    the name of a row's key, counted from the first row in the file; it raises DamageError and OSError.
    """

    name: str
    type_code: int
    data: Path
    entries: Path
    width: int
    more: int
    rows: int
    top: int
    within: str
    symbol: Callable[[int, int], str]


def place_of(path: Path) -> ColumnPlace | None:
    if (path.parent / "_event").is_file():
        return _in_segment(path)
    return _in_partition(path)


def _in_partition(path: Path) -> ColumnPlace | None:
    table = path.parent.parent
    partitions = PartitionFiles.of(table) if (table / "_txn").is_file() else None
    if partitions is None:
        return None
    span = next((each for each in partitions.spans if each.directory == path.parent.name), None)
    if span is None or span.parquet_size is not None:
        return None
    for each in partitions.columns_of(span):
        if not isinstance(each, PartitionFault) and path in (each.data, each.entries[0]) and each.entries[1]:
            named, top = _NamesOfTable(table, partitions, each.column), span.rows - each.rows
            name, code, (entries, width, more) = each.column.name, each.column.type_code, each.entries
            return ColumnPlace(name, code, each.data, entries, width, more, each.rows, top, "the partition", named)
    return None


def _in_segment(path: Path) -> ColumnPlace | None:
    segment = read_segment(path.parent)
    events = segment.events[segment.data]
    for index, column in enumerate(segment.metadata.columns if segment.metadata is not None else ()):
        data, aux = (column_path(segment.path, column.raw_name, suffix) for suffix in "di")
        if column.dropped or path not in (data, aux) or not len(events):
            continue
        assert segment.metadata is not None  # noqa: S101 - it has columns
        code, entries, width, more = column.type_code, data, storage_size(column.type_code) or 0, 0
        if is_variable(code):
            entries, (width, more) = aux, aux_shape(tag_of(code))
        elif index == segment.metadata.timestamp_index:
            width = TIMESTAMP_ROW.itemsize
        if width and path in (data, entries):
            rows, named = int(events["end_row"].max()), _NamesOfSegment(segment, index)
            return ColumnPlace(column.name, code, data, entries, width, more, rows, 0, "the segment", named)
    return None


@dataclass(frozen=True, slots=True)
class _NamesOfTable:
    """The names of a symbol column by the table's symbol map."""

    table: Path
    partitions: PartitionFiles
    column: TableColumn

    def __call__(self, row: int, key: int) -> str:
        if not 0 <= key < self.partitions.symbols(self.column):
            raise DamageError(f"key {key:,} is not in the symbol map")
        return read_symbol(self.table, self.column.raw_name, key, self.partitions.symbol_name_txn(self.column))


@dataclass(frozen=True, slots=True)
class _NamesOfSegment:
    """The names of a symbol column of a segment: those of its events, and what the table had before them."""

    segment: Segment
    index: int

    def __call__(self, row: int, key: int) -> str:
        with SegmentRows(self.segment, self.segment.path.parent.parent, only={self.index}) as rows:
            (values,) = next(rows.chunks([(row, row + 1)])).values
        if bool(values.null[0]):
            raise DamageError(f"no event names key {key:,}")
        return cells_of(values).data.tobytes().decode("utf-8", "replace")
