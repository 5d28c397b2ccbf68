"""Parquet, by pyarrow where it is installed: nulls are nulls, timestamps keep their unit, arrays are nested lists.

UUID, LONG128, LONG256, IPV4, geohash and CHAR are text, as the server shows them; BINARY is bytes. A chunk of rows is a
row group.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from console.errors import WalmedicError
from console.questdb.column_types import DECIMALS, ColumnTag, decimal_shape, is_nanos, tag_of
from console.questdb.decimals import decimal_words
from console.questdb.row_values import ArrayValues, BytesValues, FixedValues, Values, offsets_of
from console.questdb.segment_rows import Column, Rows
from console.recovery.salvage.cells import Cells, cells_of
from console.recovery.salvage.output import SalvageError, new_file
from console.text import clean_line

_PLAIN = {
    ColumnTag.BOOLEAN: "bool_",
    ColumnTag.BYTE: "int8",
    ColumnTag.SHORT: "int16",
    ColumnTag.INT: "int32",
    ColumnTag.LONG: "int64",
    ColumnTag.FLOAT: "float32",
    ColumnTag.DOUBLE: "float64",
}


def _repeated(columns: tuple[Column, ...], schema: Any) -> list[str]:
    """Return the columns whose values repeat: a dictionary of the others costs time and room."""
    named = zip(columns, schema.names, strict=True)
    return [name for column, name in named if tag_of(column.type_code) is ColumnTag.SYMBOL]


def arrow() -> Any:
    """Return pyarrow. Raises WalmedicError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise WalmedicError(
            "Parquet needs pyarrow, which is not installed here: install walmedic[parquet], or write CSV"
        ) from None
    return pyarrow


class ParquetFormat:
    """Files of Parquet. Raises WalmedicError where pyarrow is not installed."""

    suffix = "parquet"

    def __init__(self) -> None:
        self._arrow = arrow()

    def write(self, path: Path, columns: tuple[Column, ...], chunks: Iterable[Rows]) -> None:
        """Write each chunk as a row group."""
        schema = self._schema(columns)
        with (
            new_file(path) as descriptor,
            os.fdopen(os.dup(descriptor), "wb") as stream,
            self._arrow.parquet.ParquetWriter(
                stream, schema, compression="zstd", use_dictionary=_repeated(columns, schema)
            ) as writer,
        ):
            for rows in chunks:
                writer.write_batch(self._batch(rows, schema))

    def compare(self, path: Path, columns: tuple[Column, ...], chunks: Iterable[Rows]) -> int:
        """Read each row group back and compare it, value by value, with the rows read anew."""
        schema = self._schema(columns)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        total = 0
        with os.fdopen(descriptor, "rb") as stream:
            file = self._arrow.parquet.ParquetFile(stream)
            for group, rows in enumerate(chunks):
                if group >= file.num_row_groups:
                    raise SalvageError(f"{clean_line(str(path))} ends before row {rows.first:,}")
                expected = self._arrow.Table.from_batches([self._batch(rows, schema)])
                if not file.read_row_group(group).equals(expected):
                    raise SalvageError(
                        f"{clean_line(str(path))} reads back differently near row {rows.first:,}; do not trust its disk"
                    )
                total += len(rows)
            if int(file.metadata.num_rows) != total:
                raise SalvageError(f"{clean_line(str(path))} has {file.metadata.num_rows:,} rows, {total:,} were meant")
        return total

    def _schema(self, columns: tuple[Column, ...]) -> Any:
        names = [column.raw_name.encode("utf-8", "replace").decode() for column in columns]
        return self._arrow.schema(
            [(name, self._type(column.type_code)) for name, column in zip(names, columns, strict=True)]
        )

    def _type(self, code: int) -> Any:
        pa, tag = self._arrow, tag_of(code)
        if tag in _PLAIN:
            return getattr(pa, _PLAIN[tag])()
        match tag:
            case ColumnTag.TIMESTAMP:
                return pa.timestamp("ns" if is_nanos(code) else "us", tz="UTC")
            case ColumnTag.DATE:
                return pa.timestamp("ms", tz="UTC")
            case ColumnTag.BINARY:
                return pa.binary()
            case _ if tag in DECIMALS:
                wide = tag is ColumnTag.DECIMAL256
                return (pa.decimal256 if wide else pa.decimal128)(*decimal_shape(code))
            case ColumnTag.ARRAY:
                nested = pa.float64()
                for _ in range((code >> 14 & 0x1F) + 1):
                    nested = pa.list_(nested)
                return nested
            case _:
                return pa.string()

    def _batch(self, rows: Rows, schema: Any) -> Any:
        arrays = [self._array(values, kind) for values, kind in zip(rows.values, schema.types, strict=True)]
        return self._arrow.record_batch(arrays, schema=schema)

    def _array(self, values: Values, kind: Any) -> Any:
        pa = self._arrow
        match values:
            case FixedValues():
                if tag_of(values.type_code) in _PLAIN:
                    return pa.array(values.values, kind, mask=values.null)
                if tag_of(values.type_code) in (ColumnTag.TIMESTAMP, ColumnTag.DATE):
                    return pa.array(values.values.astype(np.int64), pa.int64(), mask=values.null).cast(kind)
                if tag_of(values.type_code) in DECIMALS:
                    return self._decimals(values, kind)
                return self._texts(cells_of(values), values.null, kind)
            case BytesValues():
                return self._texts(Cells(values.data, values.offsets), values.null, kind)
            case ArrayValues():
                return self._lists(values, kind)

    def _decimals(self, values: FixedValues, kind: Any) -> Any:
        """Return decimals as arrow holds them: 16 or 32 bytes, the least significant first."""
        words = decimal_words(values.values)
        missing = kind.bit_width // 64 - words.shape[1]
        sign = np.where(words[:, -1:].view("<i8") < 0, np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0))
        data = np.ascontiguousarray(np.concatenate([words, np.repeat(sign, missing, axis=1)], axis=1))
        buffers = [self._valid(values.null), self._arrow.py_buffer(data)]
        return self._arrow.Array.from_buffers(kind, len(values), buffers)

    def _texts(self, cells: Cells, null: Any, kind: Any) -> Any:
        low = int(cells.offsets[0])
        data = np.ascontiguousarray(cells.data[low : int(cells.offsets[-1])])
        offsets = (cells.offsets - low).astype("<i4")
        buffers = [self._valid(null), self._arrow.py_buffer(offsets), self._arrow.py_buffer(data)]
        made = self._arrow.Array.from_buffers(kind, len(cells), buffers)
        try:
            made.validate(full=True)
        except self._arrow.ArrowInvalid:  # a VARCHAR may hold bytes that are no UTF-8
            pieces = [data[a:b].tobytes() for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
            texts = [piece.decode("utf-8", "replace") for piece in pieces]
            made = self._arrow.array(texts, kind, mask=null)
        return made

    def _lists(self, values: ArrayValues, kind: Any) -> Any:
        pa = self._arrow
        made = pa.array(values.values, pa.float64(), mask=~np.isfinite(values.values))
        # from the innermost list outwards: how many lists of a level there are is the product of the lengths before
        for level in range(values.shapes.shape[1] - 1, 0, -1):
            lists = np.where(values.null, 0, values.shapes[:, :level].prod(axis=1))
            made = pa.ListArray.from_arrays(offsets_of(np.repeat(values.shapes[:, level], lists)).astype("<i4"), made)
        lengths = np.where(values.null, 0, values.shapes[:, 0])
        buffers = [self._valid(values.null), pa.py_buffer(offsets_of(lengths).astype("<i4"))]
        return pa.Array.from_buffers(kind, len(values), buffers, children=[made])

    def _valid(self, null: Any) -> Any:
        return self._arrow.py_buffer(np.packbits(~null, bitorder="little")) if bool(null.any()) else None
