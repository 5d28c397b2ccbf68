"""Values as text: one cell a row, without a Python object for each.

Null is nothing at all, an empty text is `""`. Timestamps and dates are ISO 8601 in UTC with all their digits; floats
have the shortest form that reads back to the same bits, decimals all digits of their scale; UUID, LONG256, IPV4,
geohash and arrays look as the server shows them; BINARY is base64, which the server shows nothing of. Texts are
quoted, quotes in them doubled (RFC 4180).

QuestDB's own import (`/imp`) reads all of it but what `importable` says.
"""

import base64
import itertools
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_types import DECIMALS, ColumnTag, is_nanos, tag_of
from console.questdb.decimals import decimal_characters
from console.questdb.row_values import (
    ArrayValues,
    Bytes,
    BytesValues,
    FixedValues,
    Mask,
    Numbers,
    Values,
    gather,
    offsets_of,
)  # fmt: skip
from console.questdb.utf16 import utf8_of

_QUOTE: Final = ord('"')
_BASE32: Final = np.frombuffer(b"0123456789bcdefghjkmnpqrstuvwxyz", np.uint8)
_HEX: Final = np.frombuffer(np.arange(1 << 16, dtype=">u2").tobytes().hex().encode(), "<u4")
"""The four digits of each number of 16 bits."""
_OF_UUID: Final = (8, 4, 4, 4, 12)
"""Digits of the groups of a UUID."""
_LINES: Final = 1 << 11
"""Rows that are put together at once: the places of their bytes stay in the cache of the processor."""
_OCTETS: Final = np.array([str(each).encode() for each in range(256)])


@dataclass(frozen=True, slots=True)
class Cells:
    """Cell r is `data[offsets[r]:offsets[r + 1]]`, UTF-8; a null has no bytes."""

    data: Bytes
    offsets: Numbers

    def __len__(self) -> int:
        return len(self.offsets) - 1


def cells_of(values: Values) -> Cells:
    """Return the text of each value, unquoted but for what `quoted_cells` says needs it."""
    match values:
        case FixedValues():
            return _fixed(values)
        case BytesValues():
            if tag_of(values.type_code) is ColumnTag.BINARY:
                return _base64(values)
            return Cells(values.data, values.offsets)
        case ArrayValues():
            return _arrays(values)


def csv_cells(values: Values) -> Cells:
    """Return the text of each value as a CSV cell: quoted where it may hold anything, empty for null."""
    cells = cells_of(values)
    if isinstance(values, FixedValues) and tag_of(values.type_code) is not ColumnTag.CHAR:
        return cells
    if isinstance(values, BytesValues) and tag_of(values.type_code) is ColumnTag.BINARY:
        return cells
    return _quoted(cells, values.null)


def rows_of(columns: list[Cells]) -> bytes:
    """Return the rows of cells as lines of CSV: commas between, a newline after each."""
    return b"".join(_lines(columns, row, row + _LINES) for row in range(0, len(columns[0]), _LINES))


def _lines(columns: list[Cells], first: int, end: int) -> bytes:
    bounds = [cells.offsets[first : end + 1] for cells in columns]
    lengths = np.stack([np.diff(each) for each in bounds], axis=1) + 1  # with the comma, or the newline
    ends = np.cumsum(lengths.reshape(-1)).reshape(lengths.shape)
    out = np.full(int(ends[-1, -1]), ord(","), np.uint8)
    out[ends[:, -1] - 1] = ord("\n")
    for at, (cells, bound) in enumerate(zip(columns, bounds, strict=True)):
        places = np.repeat(ends[:, at] - lengths[:, at] - bound[:-1], lengths[:, at] - 1)
        places += np.arange(bound[0], bound[-1])
        out[places] = cells.data[int(bound[0]) : int(bound[-1])]
    return out.tobytes()


def importable(type_code: int) -> bool:
    """Return whether QuestDB 9.1.0 reads the cells of a type back as they were (measured; Parquet has all types).

    It takes no BINARY, arrays or LONG128, and reads a geohash of bits, not of whole characters, as base 32.
    """
    tag = tag_of(type_code)
    if tag in (ColumnTag.GEOBYTE, ColumnTag.GEOSHORT, ColumnTag.GEOINT, ColumnTag.GEOLONG):
        return (type_code >> 8 & 0xFF) % 5 == 0
    return tag not in (ColumnTag.BINARY, ColumnTag.ARRAY, ColumnTag.LONG128)


def header_of(names: list[str]) -> bytes:
    """Return the first line: the names of the columns, quoted."""
    quoted = ('"' + name.encode("utf-8", "replace").decode().replace('"', '""') + '"' for name in names)
    return (",".join(quoted) + "\n").encode()


def _fixed(column: FixedValues) -> Cells:
    tag, values = tag_of(column.type_code), column.values
    match tag:
        case ColumnTag.BOOLEAN:
            text = np.where(values != 0, b"true", b"false")
        case ColumnTag.TIMESTAMP:
            text = _instants(values, column.null, "ns" if is_nanos(column.type_code) else "us")
        case ColumnTag.DATE:
            text = _instants(values, column.null, "ms")
        case ColumnTag.CHAR:
            data, sizes = utf8_of(np.ascontiguousarray(values), np.ones(len(values), np.int64))
            return _without_nulls(data, sizes, column.null)
        case ColumnTag.UUID | ColumnTag.LONG128:
            return _uuids(values, column.null)
        case ColumnTag.LONG256:
            return _long256(values, column.null)
        case ColumnTag.IPV4:
            text = _addresses(values)
        case ColumnTag.GEOBYTE | ColumnTag.GEOSHORT | ColumnTag.GEOINT | ColumnTag.GEOLONG:
            text = _geohashes(values.astype(np.int64), column.type_code >> 8 & 0xFF)
        case _ if tag in DECIMALS:
            table, used = decimal_characters(column.type_code, values)
            used &= ~column.null[:, None]
            return Cells(table[used], offsets_of(used.sum(axis=1)))
        case ColumnTag.FLOAT | ColumnTag.DOUBLE:
            text = np.where(column.null, 0, values).astype(values.dtype).astype("S32")
        case _:
            text = values.astype("S21")
    return _ragged(text, column.null)


def _ragged(text: NDArray[np.bytes_], null: Mask) -> Cells:
    """Return fixed-width texts, padded with zero bytes, as cells."""
    width = text.dtype.itemsize
    table = np.ascontiguousarray(text).view(np.uint8).reshape(len(text), width)
    used = (table != 0) & ~null[:, None]
    return Cells(table[used], offsets_of(used.sum(axis=1)))


def _without_nulls(data: Bytes, sizes: Numbers, null: Mask) -> Cells:
    ends = np.cumsum(sizes)
    kept = np.where(null, 0, sizes)
    return Cells(gather(data, ends - sizes, kept), offsets_of(kept))


def _instants(values: NDArray[Any], null: Mask, unit: Literal["ms", "us", "ns"]) -> NDArray[np.bytes_]:
    times: NDArray[np.datetime64] = np.where(null, 0, values).astype(f"datetime64[{unit}]")
    return np.datetime_as_string(times, unit=unit, timezone="UTC").astype(np.bytes_)


def _hex(values: NDArray[Any]) -> Bytes:
    """Return the hexadecimal digits of values of raw bytes, most significant first: (rows, 2 × bytes)."""
    size = values.dtype.itemsize
    raw = np.ascontiguousarray(values).view("<u2").reshape(len(values), size // 2)
    return np.asarray(_HEX[raw[:, ::-1]].view(np.uint8).reshape(len(values), 2 * size))


def _uuids(values: NDArray[Any], null: Mask) -> Cells:
    digits, text = _hex(values), np.full((len(values), 36), ord("-"), np.uint8)
    read = written = 0
    for count in _OF_UUID:
        text[:, written : written + count] = digits[:, read : read + count]
        read, written = read + count, written + count + 1
    return _pieces(text, np.zeros(len(values), np.int64), null)


def _long256(values: NDArray[Any], null: Mask) -> Cells:
    """`0x` and the digits of each whole byte from the first that is not zero (Numbers.appendLong256)."""
    text = np.empty((len(values), 66), np.uint8)
    text[:, 2:] = _hex(values)
    raw = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), 32)[:, ::-1]
    zeros = np.zeros(len(values), np.int64)
    short = np.flatnonzero(raw[:, 0] == 0)
    used = raw[short] != 0
    zeros[short] = np.where(used.any(axis=1), used.argmax(axis=1), 31)
    for at, letter in enumerate(b"0x"):
        text[np.arange(len(values)), 2 * zeros + at] = letter
    return _pieces(text, 2 * zeros, null)


def _pieces(table: Bytes, first: Numbers, null: Mask) -> Cells:
    rows, width = table.shape
    sizes = np.where(null, 0, width - first)
    return Cells(gather(table.reshape(-1), np.arange(rows) * width + first, sizes), offsets_of(sizes))


def _addresses(values: NDArray[Any]) -> NDArray[np.bytes_]:
    octets: list[NDArray[np.bytes_]] = [_OCTETS[values >> shift & 255] for shift in (24, 16, 8, 0)]
    text = octets[0]
    for octet in octets[1:]:
        text = np.strings.add(np.strings.add(text, b"."), octet)
    return text


def _geohashes(values: Numbers, bits: int) -> NDArray[np.bytes_]:
    """Base 32 where the bits are whole digits, else bits (GeoHashes.append)."""
    if bits <= 0:  # no server makes it; a damaged _meta may say it
        return np.zeros(len(values), "S1")
    step = 5 if bits % 5 == 0 else 1
    shifts = np.arange(bits - step, -1, -step)
    digits = values[:, None] >> shifts[None, :] & (1 << step) - 1
    table = (_BASE32 if step == 5 else np.frombuffer(b"01", np.uint8))[digits]
    return np.ascontiguousarray(table).view(f"S{len(shifts)}").reshape(-1)


def _base64(column: BytesValues) -> Cells:
    data = column.data.tobytes()
    bounds = column.offsets.tolist()
    texts = [base64.b64encode(data[low:high]) for low, high in itertools.pairwise(bounds)]
    return _joined(texts)


def _arrays(column: ArrayValues) -> Cells:
    numbers = np.where(np.isfinite(column.values), column.values.astype("S32"), b"null")
    bounds = column.offsets.tolist()
    texts = []
    for at, (low, high) in enumerate(itertools.pairwise(bounds)):
        nested: Any = numbers[low:high].reshape(column.shapes[at]).tolist()
        texts.append(b"" if column.null[at] else _brackets(nested))
    return _joined(texts)


def _brackets(nested: Any) -> bytes:
    return nested if isinstance(nested, bytes) else b"[" + b",".join(_brackets(each) for each in nested) + b"]"


def _joined(texts: list[bytes]) -> Cells:
    return Cells(np.frombuffer(b"".join(texts), np.uint8), offsets_of(np.array([len(t) for t in texts], np.int64)))


def _quoted(cells: Cells, null: Mask) -> Cells:
    """Return the cells in quotes, quotes inside doubled; nulls stay without a byte."""
    data = cells.data[int(cells.offsets[0]) : int(cells.offsets[-1])]
    times = np.where(data == _QUOTE, 2, 1)
    before = np.concatenate([[0], np.cumsum(times)])
    bounds = before[cells.offsets - cells.offsets[0]]
    doubled = np.repeat(data, times)
    inner = np.diff(bounds)
    sizes = np.where(null, 0, inner + 2)
    offsets = offsets_of(sizes)
    out = np.full(int(offsets[-1]), _QUOTE, np.uint8)
    out[np.repeat(offsets[:-1] + 1 - bounds[:-1], inner) + np.arange(len(doubled))] = doubled
    return Cells(out, offsets)
