"""Parquet, by pyarrow where it is installed: nulls are nulls, timestamps keep their unit, arrays are nested lists.

UUID, LONG128, LONG256, IPV4, geohash and CHAR are text, as the server shows them; BINARY is bytes. A chunk of rows is a
row group. Nothing is compressed, and there are no statistics: together they take longer than all the rest.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from console.errors import WalmedicError
from console.questdb.column_types import DECIMALS, ColumnTag, decimal_shape, is_nanos, storage_size, tag_of
from console.questdb.decimals import decimal_words
from console.questdb.row_values import ArrayValues, BytesValues, FixedValues, Values, offsets_of
from console.questdb.segment_rows import Column, Rows
from console.recovery.salvage.cells import Cells, cells_of
from console.recovery.salvage.output import new_file, reads_differently

_ASCII: Final = 1 << 7
_PLAIN: Final = {
    ColumnTag.BOOLEAN: "bool_",
    ColumnTag.BYTE: "int8",
    ColumnTag.SHORT: "int16",
    ColumnTag.INT: "int32",
    ColumnTag.LONG: "int64",
    ColumnTag.FLOAT: "float32",
    ColumnTag.DOUBLE: "float64",
}

_TEXT_BYTES: Final = {
    ColumnTag.BYTE: 4,
    ColumnTag.SHORT: 4,
    ColumnTag.CHAR: 7,
    ColumnTag.UUID: 40,
    ColumnTag.LONG128: 40,
    ColumnTag.LONG256: 70,
    ColumnTag.IPV4: 19,
    ColumnTag.GEOBYTE: 12,
    ColumnTag.GEOSHORT: 20,
    ColumnTag.GEOINT: 36,
    ColumnTag.GEOLONG: 64,
}
"""Bytes of a value in the file at most, with 4 for the length of a text: the types that take more than in QuestDB."""


def growth(code: int) -> int:
    """Return by how many bytes a value of a fixed-width type is at most longer in the file than in QuestDB."""
    tag = tag_of(code)
    return 0 if tag is None else max(0, _TEXT_BYTES.get(tag, 0) - (storage_size(code) or 0))


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

    def write(self, path: Path, columns: tuple[Column, ...], chunks: Iterable[Rows]) -> str:
        """Write each chunk as a row group, and decode the first and the last one; see RowFormat."""
        schema = self._schema(columns)
        sizes, first, last = list[int](), None, None
        with (
            new_file(path) as file,
            self._arrow.parquet.ParquetWriter(
                file, schema, compression="none", use_dictionary=_repeated(columns, schema), write_statistics=False
            ) as writer,
        ):
            for rows in chunks:
                last = self._batch(rows, schema)
                first = last if first is None else first
                sizes.append(len(rows))
                writer.write_batch(last)
        self._prove(path, sizes, first, last)
        return file.sha256

    def _prove(self, path: Path, sizes: list[int], first: Any, last: Any) -> None:
        """Raise SalvageError if the row groups do not have these rows, or the ends do not have these values."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            file = self._arrow.parquet.ParquetFile(stream)
            found = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            if found != sizes:
                raise reads_differently(path)
            for group, batch in ((0, first), (len(sizes) - 1, last)) if sizes else ():
                if not file.read_row_group(group).equals(self._arrow.Table.from_batches([batch])):
                    raise reads_differently(path, sum(sizes[:group]))

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
        if len(data) and int(data.max()) >= _ASCII and kind == self._arrow.string():
            made = self._valid_text(made)
        return made

    def _valid_text(self, made: Any) -> Any:
        """Return texts in which bytes that are no UTF-8, which a VARCHAR may hold, are replaced."""
        try:
            made.validate(full=True)
        except self._arrow.ArrowInvalid:
            texts = made.cast(self._arrow.binary()).to_pylist()
            shown = [None if text is None else text.decode("utf-8", "replace") for text in texts]
            return self._arrow.array(shown, made.type)
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
