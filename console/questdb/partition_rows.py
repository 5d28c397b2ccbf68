"""Rows of a table's partitions as values, symbols as text: what a SELECT gives, read from the column files.

A partition may be split into several directories; here it is one again, its rows numbered from 0. Rows before a
column's top are null, or 0 and false for types that have no null (TableReader, ColumnTops).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from console.questdb.column_files import column_path, partition_path, partition_values
from console.questdb.column_types import ColumnTag, is_variable, tag_of, value_dtype
from console.questdb.column_versions import read_column_versions
from console.questdb.partitioning import Partitioning
from console.questdb.reading import DamageError, DbFile, Problem
from console.questdb.row_values import FixedValues, Mask, Numbers, Values, fixed_values, joined, nulls
from console.questdb.symbol_values import EMPTY, Dictionary, read_dictionary, symbol_texts
from console.questdb.table_metadata import TableColumn, read_table_metadata
from console.questdb.table_txn import TxnArea, read_table_txn
from console.questdb.variable_values import data_span, variable_values

_NO_NULL: Final = (ColumnTag.BOOLEAN, ColumnTag.BYTE, ColumnTag.SHORT)
CHUNK: Final = 1 << 16
"""Most rows of a chunk."""
CHUNK_BYTES: Final = 64 << 20
"""About how many bytes of a variable-width column a chunk holds at most; a single row may be larger."""


@dataclass(frozen=True, slots=True)
class Part:
    """One directory of a partition: its row of `_txn`, and the number of its first row within the partition."""

    record: np.void
    first: int
    rows: int


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: where it begins (in the timestamp's unit), its rows and the directories that hold them."""

    start: int
    rows: int
    parts: tuple[Part, ...]
    parquet: bool


class TableRows:
    """A table that nothing writes to meanwhile, as its `_txn` is when this is made; `lag`: with the rows of its lag.

    With `txn` that state is taken in place of the one in `_txn`. With `keys` a symbol is its key: its map is not read.

    Raises DamageError where `_txn` or `_meta` cannot be read, or there is no designated timestamp.
    """

    def __init__(self, table: Path, *, lag: bool = False, txn: TxnArea | None = None, keys: bool = False) -> None:
        metadata = read_table_metadata(table)
        if isinstance(metadata, Problem):
            raise DamageError(f"_meta: {metadata.what}")
        if metadata.unusable:
            raise DamageError(f"_meta: {metadata.unusable}")
        current = txn or read_table_txn(table).current
        if current is None:
            raise DamageError("_txn holds no state that can be read")
        if metadata.timestamp is None:
            raise DamageError("it has no designated timestamp")
        self.table, self.metadata, self.txn = table, metadata, current
        self.partitioning = Partitioning.of(metadata)
        self.columns = tuple(column for column in metadata.columns if not column.dropped)
        self._keys = keys
        self.lag_rows = current.lag_rows if lag else 0
        self.versions = read_column_versions(table)
        self._dictionaries: dict[int, Dictionary] = {}
        self.partitions = tuple(self._partitions())

    @property
    def timestamp(self) -> TableColumn:
        column = self.metadata.timestamp
        assert column is not None  # noqa: S101 (checked when it was made)
        return column

    def has_null(self, column: TableColumn) -> bool:
        return column.tag not in _NO_NULL

    def chunks(self, partition: Partition, column: TableColumn) -> Iterator[tuple[int, Values]]:
        """Yield (first row, values) over a partition's column. Raises DamageError, OSError where it cannot be read."""
        self._refuse_short(partition)
        at = 0
        while at < partition.rows:
            end = min(at + CHUNK, partition.rows)
            while end - at > 1 and self._span(partition, column, at, end) > CHUNK_BYTES:
                end = at + (end - at) // 2
            yield at, self.values(partition, column, at, end)
            at = end

    def values(self, partition: Partition, column: TableColumn, first: int, end: int) -> Values:
        parts = [
            self._of_part(
                part, column, max(first, part.first) - part.first, min(end, part.first + part.rows) - part.first
            )
            for part in partition.parts
            if part.first < end and part.first + part.rows > first
        ]
        return joined(parts) if parts else nulls(self._code(column), 0)

    def zeros(self, partition: Partition, column: TableColumn, first: int, end: int) -> Mask:
        """Return which values of a fixed-width column are zeros in its file (of a SYMBOL: its key), null or not."""
        found = np.zeros(end - first, np.bool_)
        for part in partition.parts:
            low, high = max(first - part.first, 0), min(end - part.first, part.rows)
            if low >= high:
                continue
            stored = partition_values(self.table, self.partitioning, self.versions, part.record, column, low, high)
            raw: Any = np.ascontiguousarray(stored.values)
            at = part.first - first + stored.first
            if len(raw):  # none is stored of rows that were there before their column
                found[at : at + len(raw)] = ~raw.view(np.uint8).reshape(len(raw), -1).any(axis=1)
        return found

    def timestamps(self, partition: Partition, first: int, end: int) -> Numbers:
        values = self.values(partition, self.timestamp, first, end)
        assert isinstance(values, FixedValues)  # noqa: S101 (a timestamp has fixed width)
        return values.values

    def _refuse_short(self, partition: Partition) -> None:
        """Raise DamageError where `_txn` counts more rows than there are timestamps: a column may be absent, so that it
        bounds nothing."""
        for part in partition.parts:
            with self._file(part, self.timestamp, "d") as file:
                if file.size < 8 * part.rows:
                    raise DamageError(f"a partition has {file.size // 8:,} of {part.rows:,} timestamps")

    def _partitions(self) -> Iterator[Partition]:
        records = self.txn.partitions
        floors = self.partitioning.floors(np.asarray(records["timestamp"]))
        for start in np.unique(floors).tolist():
            first = 0
            parts = []
            for at in np.flatnonzero(floors == start).tolist():
                rows = int(records["rows"][at]) + (self.lag_rows if at == len(records) - 1 else 0)
                parts.append(Part(records[at], first, rows))
                first += rows
            if first:
                yield Partition(int(start), first, tuple(parts), any(bool(p.record["parquet"]) for p in parts))

    def _of_part(self, part: Part, column: TableColumn, first: int, end: int) -> Values:
        start = int(part.record["timestamp"])
        top = self.versions.top(start, column.index)
        top = part.rows if top is None else min(top, part.rows)
        found: list[Values] = []
        if first < top:
            found.append(absent_values(self._code(column), min(end, top) - first))
        if end > top:
            found.append(self._stored(part, column, max(first, top), end, top))
        return joined(found)

    def _stored(self, part: Part, column: TableColumn, first: int, end: int, top: int) -> Values:
        if is_variable(column.type_code):
            with self._file(part, column, "i") as aux, self._file(part, column, "d") as data:
                return variable_values(column.type_code, aux, data, first - top, end - top)
        rows = partition_values(self.table, self.partitioning, self.versions, part.record, column, first, end)
        if len(rows.values) != end - first:
            raise DamageError(f"column {column.name} of a partition ends before row {end:,}")
        if column.tag is ColumnTag.SYMBOL and not self._keys:
            dictionary = self._dictionary(column)
            keys = rows.values.astype(np.int64)
            empty = np.empty(0, np.int64)
            texts, unknown = symbol_texts(column.type_code, keys, dictionary, len(dictionary), empty, EMPTY)
            if len(unknown):
                raise DamageError(f"column {column.name} has symbols that its dictionary does not name")
            return texts
        return fixed_values(self._code(column), rows.values)

    def _code(self, column: TableColumn) -> int:
        return ColumnTag.INT if self._keys and column.tag is ColumnTag.SYMBOL else column.type_code

    def _dictionary(self, column: TableColumn) -> Dictionary:
        if column.index not in self._dictionaries:
            dense = [each.index for each in self.metadata.symbols].index(column.index)
            counts = self.txn.symbols["count"]
            if dense >= len(counts):
                raise DamageError(f"_txn counts {len(counts):,} symbol columns, and column {column.name} is one more")
            count = int(counts[dense])
            name_txn = self.versions.symbol_name_txn(column.index)
            self._dictionaries[column.index] = read_dictionary(self.table, column.raw_name, count, name_txn)
        return self._dictionaries[column.index]

    def _span(self, partition: Partition, column: TableColumn, first: int, end: int) -> int:
        if not is_variable(column.type_code):
            return 0
        total = 0
        for part in partition.parts:
            top = self.versions.top(int(part.record["timestamp"]), column.index)
            low, high = max(first - part.first, top or 0), min(end - part.first, part.rows)
            if top is not None and low < high:
                with self._file(part, column, "i") as aux:
                    total += data_span(column.type_code, aux, low - top, high - top)
        return total

    def _file(self, part: Part, column: TableColumn, suffix: str) -> DbFile:
        name_txn = self.versions.name_txn(int(part.record["timestamp"]), column.index)
        folder = partition_path(self.table, self.partitioning, part.record)
        return DbFile(column_path(folder, column.raw_name, suffix, name_txn))


def absent_values(type_code: int, count: int) -> Values:
    """Return what a SELECT shows of rows that were there before their column."""
    dtype: Any = value_dtype(type_code)
    if tag_of(type_code) in _NO_NULL:
        return FixedValues(type_code, np.zeros(count, dtype), np.zeros(count, np.bool_))
    return nulls(type_code, count)
