"""Rows of a partition that the server keeps in Parquet: one row group is a chunk; a column that cannot be decoded is
null there.

Measured on 9.1.0: the field id is the column's index in `_meta`; a nanosecond timestamp has the label of microseconds;
UUID has its most significant byte first, LONG256 the least; an element of an array that is not finite is null.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from console.questdb.column_types import DECIMALS, ColumnTag, array_dimensions, tag_of, value_dtype
from console.questdb.parquet_rows import ParquetGroup, read_column, read_layout
from console.questdb.partition_files import PARQUET
from console.questdb.partition_rows import absent_values
from console.questdb.reading import DamageError
from console.questdb.row_values import (
    ArrayValues,
    BytesValues,
    FixedValues,
    Mask,
    Values,
    fixed_values,
    joined,
    nulls,
    offsets_of,
)
from console.questdb.segment_rows import Column, Rows
from console.recovery.salvage.parquet_file import arrow
from console.recovery.salvage.part_rows import Found, TimeWatch, shown_columns
from console.recovery.salvage.part_values import Hole
from console.recovery.salvage.table_picture import Part, TablePicture
from console.text import clean_line

_CHUNK: Final = 1 << 17


class ParquetRows:
    """Rows of a Parquet partition. Raises WalmedicError where pyarrow is not installed."""

    def __init__(self, picture: TablePicture, part: Part) -> None:
        self.columns = shown_columns(picture)
        self._picture, self._part = picture, part
        self._arrow = arrow()
        self._path: Path = picture.table / part.span.directory / PARQUET

    def chunks(self, found: Found) -> Iterator[Rows]:
        """Yield the rows in order. Raises DamageError if the footer cannot be decoded, OSError if the disk fails."""
        watch = TimeWatch(self._picture, self._part, found)
        try:
            layout = read_layout(self._path)
        except DamageError as damage:
            raise DamageError(f"its Parquet footer cannot be decoded ({damage.what})") from damage
        first, wanted = 0, self._part.span.rows
        for group in layout.groups:
            count = min(group.rows, wanted - first)
            columns = [self._column(group, column, layout.fields, first, count, found) for column in self.columns]
            for at in range(0, count, _CHUNK):
                end = min(at + _CHUNK, count)
                rows = Rows(first + at, first + end, tuple(_slice(column, at, end) for column in columns))
                watch.see(rows)
                yield rows
            first += count
        if first < wanted:
            raise DamageError(f"it has {first:,} rows, and _txn counts {wanted:,}")

    def _column(
        self, group: ParquetGroup, column: Column, names: Mapping[int, str], first: int, count: int, found: Found
    ) -> Values:
        if column.index not in names:  # added after the partition was converted
            return absent_values(column.type_code, count)
        try:
            return self._values(column.type_code, read_column(self._path, group, names[column.index]))
        except (DamageError, self._arrow.ArrowException, OSError, ValueError) as error:
            what = error.what if isinstance(error, DamageError) else clean_line(str(error), 120)
            why = f"row group {group.number} cannot be decoded ({what})"
            found.holes.append(Hole(column.name, first, count, why))
            return nulls(column.type_code, count)

    def _values(self, code: int, stored: Any) -> Values:
        pa, tag = self._arrow, tag_of(code)
        if isinstance(stored, pa.ExtensionArray):
            stored = stored.storage
        null = np.asarray(stored.is_null())
        if tag is ColumnTag.ARRAY:
            return self._lists(code, stored, null)
        if tag in (ColumnTag.SYMBOL, ColumnTag.STRING, ColumnTag.VARCHAR, ColumnTag.BINARY):
            binary = stored.cast(pa.large_binary())
            return _bytes(code, binary, null)
        if tag in DECIMALS:
            return FixedValues(code, _decimals(pa, code, stored), null)
        dtype: Any = value_dtype(code)
        if pa.types.is_fixed_size_binary(stored.type):
            return FixedValues(code, _wide(pa, stored, dtype, most_first=tag is ColumnTag.UUID), null)
        if pa.types.is_timestamp(stored.type):
            stored = stored.cast(pa.int64())
        if pa.types.is_boolean(stored.type):
            stored = stored.cast(pa.uint8())
        values = np.asarray(stored.fill_null(0))
        made = fixed_values(code, np.ascontiguousarray(values).astype(dtype))
        return FixedValues(code, made.values, made.null | null)

    def _lists(self, code: int, stored: Any, null: Mask) -> ArrayValues:
        """Return nested lists as arrays: the lists of one level have one length in each array."""
        dimensions = array_dimensions(code)
        shapes = np.zeros((len(stored), dimensions), np.int64)
        first = np.arange(len(stored))  # of each array its first list of a level
        filled = ~null
        for level in range(dimensions):
            offsets = np.asarray(stored.offsets).astype(np.int64)
            here = first[filled]
            shapes[filled, level] = offsets[here + 1] - offsets[here]
            filled = filled & (shapes[:, level] > 0)
            first[filled] = offsets[first[filled]] - offsets[0]
            stored = stored.flatten()
        values = np.asarray(stored.cast(self._arrow.float64()).fill_null(np.nan))
        return ArrayValues(code, shapes, values, offsets_of(np.where(null, 0, shapes.prod(axis=1))), null)


def _bytes(code: int, binary: Any, null: Mask) -> BytesValues:
    _, offset_buffer, data_buffer = binary.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[binary.offset : binary.offset + len(binary) + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.empty(0, np.uint8)
    return BytesValues(code, data, offsets, null)


def _wide(pa: Any, stored: Any, dtype: Any, *, most_first: bool) -> Any:
    """Return values of 16 or 32 bytes, the least significant byte first."""
    size = dtype.itemsize
    raw = np.frombuffer(stored.buffers()[1], np.uint8).reshape(-1, size)[stored.offset : stored.offset + len(stored)]
    return np.ascontiguousarray(raw[:, ::-1] if most_first else raw).view(dtype).reshape(-1)


def _decimals(pa: Any, code: int, stored: Any) -> Any:
    """Return decimals as column files have them: see `decimals`."""
    dtype: Any = value_dtype(code)
    wide = stored.cast(pa.decimal256(76, stored.type.scale)).fill_null(0)
    words = np.frombuffer(wide.buffers()[1], np.uint64).reshape(-1, 4)[wide.offset : wide.offset + len(wide)]
    if dtype.itemsize <= 8:
        return words[:, 0].view(np.int64).astype(dtype)
    return np.ascontiguousarray(words[:, : dtype.itemsize // 8][:, ::-1]).view(dtype).reshape(-1)


def _slice(values: Values, low: int, high: int) -> Values:
    null = values.null[low:high]
    match values:
        case FixedValues():
            return FixedValues(values.type_code, values.values[low:high], null)
        case BytesValues():
            return joined([BytesValues(values.type_code, values.data, values.offsets[low : high + 1], null)])
        case ArrayValues():
            first, last = int(values.offsets[low]), int(values.offsets[high])
            offsets = values.offsets[low : high + 1] - first
            return ArrayValues(values.type_code, values.shapes[low:high], values.values[first:last], offsets, null)
