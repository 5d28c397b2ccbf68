"""How often a column of the table is zero: a segment with nothing but zeros in it is suspect where that is rare.

A small segment has one page per column, and a lost page then leaves no other value beside the zeros:

    table    px: 101.5 101.6 101.4 …     segment  px: 0.0 0.0 0.0 …      suspect
    table   fee: 0.0 0.0 0.0 …           segment fee: 0.0 0.0 0.0 …      the values say so
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from console.questdb.column_files import column_path, partition_values
from console.questdb.column_types import ColumnTag, storage_size
from console.questdb.column_versions import ColumnVersions, read_column_versions
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, DbFile, Problem
from console.questdb.segment import Segment
from console.questdb.segment_data import Tear, TornRows
from console.questdb.segment_details import read_symbols
from console.questdb.sequencer_metadata import SequencerColumn
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TxnArea
from console.questdb.zero_pages import by_chance

_PARTITIONS, _VALUES, _LEAST = 2, 4096, 32
_CHUNK = 1 << 16
TableColumns = tuple[TableMetadata, TxnArea, Path]
"""Columns, state and directory of a table."""
Span = tuple[int, int, int]
"""First row, row after the last, and the first event with these rows."""


class ZeroShares:
    """The share of zeros in each column of a table, by its newest rows; read once for each column that is asked for.

    A zero of a SYMBOL is its key 0, which may be another text in a segment than in the table: there the share of the
    commonest one counts.
    """

    def __init__(self, table: TableColumns) -> None:
        self._table = table
        self._versions: ColumnVersions | None = None
        self._known: dict[int, float | None] = {}

    def suspects(self, segment: Segment, span: Span) -> Iterator[TornRows]:
        """Yield the columns of `segment` that are zero in all rows of `span`, where the table's are not."""
        first, end, event = span
        columns = segment.metadata.columns if segment.metadata is not None else ()
        designated = segment.metadata.timestamp_index if segment.metadata is not None else -1
        for index, column in enumerate(columns):
            size = storage_size(column.type_code)
            if not size or column.dropped or index == designated:
                continue
            try:
                path = column_path(segment.path, column.raw_name, "d")
                share = self._share(index, column) if _all_zero(path, size * first, size * end) else None
            except (DamageError, OSError):
                continue  # reported by the reader of the values
            rows = end - first
            if share is not None and column.tag is ColumnTag.SYMBOL:
                rows -= _first_key_alone(segment, span, index)
            if share is not None and rows and not by_chance(share, rows):
                what = "zeros in every row, where the table's rows have other values"
                yield TornRows(Tear.ZERO_PAGES, column.name, path, size * first, event, first, end - first, what)

    def _share(self, index: int, column: SequencerColumn) -> float | None:
        if index not in self._known:
            self._known[index] = self._read(index, column)
        return self._known[index]

    def _read(self, index: int, column: SequencerColumn) -> float | None:
        metadata, txn, path = self._table
        if index >= len(metadata.columns) or metadata.columns[index].type_code != column.type_code:
            return None
        if self._versions is None:
            self._versions = read_column_versions(path)
        zeros = total = 0
        symbols = np.empty(0, np.int64)
        for partition in txn.partitions[-_PARTITIONS:]:
            if partition["parquet"]:
                continue
            end = int(partition["rows"])
            values = partition_values(
                path, Partitioning.of(metadata), self._versions, partition, metadata.columns[index],
                max(0, end - _VALUES), end,
            ).values  # fmt: skip
            if not len(values):
                continue  # the column was added later
            if metadata.columns[index].tag is ColumnTag.SYMBOL:
                symbols = np.concatenate((symbols, values))
                continue
            data = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
            zeros, total = zeros + int((~data.any(axis=1)).sum()), total + len(values)
        if len(symbols):
            zeros, total = int(np.unique(symbols, return_counts=True)[1].max()), len(symbols)
        return (zeros + 1) / (total + 2) if total >= _LEAST else None


def _first_key_alone(segment: Segment, span: Span, column: int) -> int:
    """Return the rows of the span's transactions that bring no symbol but the one of key 0, which each of them has.

    None of them has a NULL.
    """
    diffs, events = read_symbols(segment, partial=True), segment.events[segment.data]
    if isinstance(diffs, Problem):
        return 0
    within = events[(events["start_row"] < span[1]) & (events["end_row"] > span[0])]
    own = ([d for d in diffs.get(txn, ()) if d.column == column] for txn in within["txn"].tolist())
    alone = np.array([any(d.keys == (0,) and not d.has_null for d in found) for found in own], np.bool_)
    rows = np.minimum(within["end_row"], span[1]) - np.maximum(within["start_row"], span[0])
    return int(rows[alone].sum())


def _all_zero(path: Path, low: int, high: int) -> bool:
    with DbFile(path) as file:
        return file.size >= high and not any(
            file.array(at, "u1", min(_CHUNK, high - at)).any() for at in range(low, high, _CHUNK)
        )
