"""Values of rows as columns in memory: fixed width, bytes of any length, arrays; and which of them are null.

What a null is, and which types have none, is ColumnType's and Numbers' of QuestDB 9.1.0: the least integer of INT,
LONG, DATE, TIMESTAMP and SYMBOL; anything not finite of FLOAT and DOUBLE; 0 of CHAR and IPV4; -1 of a geohash; all
parts the least i64 of UUID, LONG128 and LONG256; the least integer of a decimal (9.2.0 and later), of which the
wide ones have the most significant 8 bytes first. BOOLEAN, BYTE and SHORT have no null.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from console.questdb.column_types import ColumnTag, storage_size, tag_of, value_dtype
from console.questdb.fields import I64_MIN

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]
Bytes = NDArray[np.uint8]

_I32_MIN: Final = -(1 << 31)
_FEW: Final = 6
_WORD: Final = 8
_AT_ONCE: Final = 1 << 16
"""Items that are gathered at once, about: their places, 8 bytes each, stay in the cache of the processor."""
_NULLS: Final[dict[ColumnTag, tuple[str, tuple[float, ...]]]] = {
    **dict.fromkeys((ColumnTag.INT, ColumnTag.SYMBOL, ColumnTag.DECIMAL32), ("<i4", (_I32_MIN,))),
    **dict.fromkeys((ColumnTag.LONG, ColumnTag.DATE, ColumnTag.TIMESTAMP, ColumnTag.DECIMAL64), ("<i8", (I64_MIN,))),
    **dict.fromkeys((ColumnTag.UUID, ColumnTag.LONG128), ("<i8", (I64_MIN,) * 2)),
    ColumnTag.LONG256: ("<i8", (I64_MIN,) * 4),
    ColumnTag.FLOAT: ("<f4", (np.nan,)),
    ColumnTag.DOUBLE: ("<f8", (np.nan,)),
    ColumnTag.CHAR: ("<u2", (0,)),
    ColumnTag.IPV4: ("<u4", (0,)),
    ColumnTag.GEOBYTE: ("i1", (-1,)),
    ColumnTag.GEOSHORT: ("<i2", (-1,)),
    ColumnTag.GEOINT: ("<i4", (-1,)),
    ColumnTag.GEOLONG: ("<i8", (-1,)),
    ColumnTag.DECIMAL8: ("i1", (-(1 << 7),)),
    ColumnTag.DECIMAL16: ("<i2", (-(1 << 15),)),
    ColumnTag.DECIMAL128: ("<i8", (I64_MIN, 0)),
    ColumnTag.DECIMAL256: ("<i8", (I64_MIN, 0, 0, 0)),
}


@dataclass(frozen=True, slots=True)
class FixedValues:
    """Values of a fixed-width type as its files hold them (`value_dtype`); what lies under a null means nothing."""

    type_code: int
    values: NDArray[Any]
    null: Mask

    def __len__(self) -> int:
        return len(self.null)


@dataclass(frozen=True, slots=True)
class BytesValues:
    """Row r is `data[offsets[r]:offsets[r + 1]]`: UTF-8, or raw bytes of a BINARY; nothing where it is null."""

    type_code: int
    data: Bytes
    offsets: Numbers
    null: Mask

    def __len__(self) -> int:
        return len(self.null)


@dataclass(frozen=True, slots=True)
class ArrayValues:
    """Row r has the shape `shapes[r]` (rows, dimensions) and the f64 `values[offsets[r]:offsets[r + 1]]`, row-major.

    An element that is not finite is null to the server.
    """

    type_code: int
    shapes: Numbers
    values: NDArray[np.float64]
    offsets: Numbers
    null: Mask

    def __len__(self) -> int:
        return len(self.null)


Values = FixedValues | BytesValues | ArrayValues


def words_of(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Return raw values of 16 bytes or more as rows of 64-bit words; there may be no values."""
    return np.ascontiguousarray(values).view("<u8").reshape(len(values), values.dtype.itemsize // 8)


def null_bytes(type_code: int) -> bytes:
    """Return the NULL of a type of fixed width as its files hold it; zeros for a type without one."""
    tag = tag_of(type_code)
    if tag not in _NULLS:
        return bytes(storage_size(type_code) or 0)
    dtype, words = _NULLS[tag]
    return np.array(words, dtype).tobytes()


def is_null(type_code: int, values: NDArray[Any]) -> Mask:
    tag = tag_of(type_code)
    if tag in (ColumnTag.FLOAT, ColumnTag.DOUBLE):
        return np.asarray(~np.isfinite(values))
    if tag not in _NULLS:
        return np.zeros(len(values), np.bool_)
    null = null_bytes(type_code)
    if len(null) <= _WORD:
        return np.asarray(values == np.frombuffer(null, values.dtype)[0])
    words, wanted = words_of(values), np.frombuffer(null, "<u8")
    found = words[:, 0] == wanted[0]
    for at in range(1, len(wanted)):
        found &= words[:, at] == wanted[at]
    return np.asarray(found)


def fixed_values(type_code: int, values: NDArray[Any]) -> FixedValues:
    return FixedValues(type_code, values, is_null(type_code, values))


def nulls(type_code: int, count: int) -> Values:
    """Return `count` nulls of a type, for rows whose values cannot be read; symbols come as texts."""
    null = np.ones(count, np.bool_)
    dtype = value_dtype(type_code)
    if tag_of(type_code) is ColumnTag.ARRAY:
        dimensions = (type_code >> 14 & 0x1F) + 1
        shapes = np.zeros((count, dimensions), np.int64)
        return ArrayValues(type_code, shapes, np.empty(0, np.float64), np.zeros(count + 1, np.int64), null)
    if dtype is None or tag_of(type_code) is ColumnTag.SYMBOL:
        return BytesValues(type_code, np.empty(0, np.uint8), np.zeros(count + 1, np.int64), null)
    return FixedValues(type_code, np.zeros(count, dtype), null)


def gather(data: NDArray[Any], starts: Numbers, lengths: Numbers) -> NDArray[Any]:
    """Return the pieces `data[start:start + length]` one after another; each lies in `data`."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    if not total:
        return np.empty(0, data.dtype)
    breaks = np.flatnonzero(starts[1:] != (starts + lengths)[:-1]) + 1
    if len(breaks) <= len(starts) >> _FEW:  # runs of pieces that lie one after another already
        low = starts[np.concatenate([[0], breaks])]
        sizes = np.diff(ends[breaks - 1], prepend=0, append=total)
        runs = [data[at : at + size] for at, size in zip(low.tolist(), sizes.tolist(), strict=True)]
        return runs[0] if len(runs) == 1 else np.concatenate(runs)
    found = np.empty(total, data.dtype)
    shift, filled = starts - (ends - lengths), 0
    step = max(1, _AT_ONCE * len(starts) // total)
    for row in range(0, len(starts), step):
        end = int(ends[min(row + step, len(ends)) - 1])
        places = np.repeat(shift[row : row + step], lengths[row : row + step])
        places += np.arange(filled, end)
        found[filled:end] = data[places]
        filled = end
    return found


def items_at(block: Bytes, places: Numbers, dtype: DTypeLike) -> NDArray[Any]:
    """Return the items of `dtype` that begin at `places` of a block, which holds them whole; they may overlap."""
    count = max(0, len(block) - np.dtype(dtype).itemsize + 1)
    begun: NDArray[Any] = np.ndarray((count,), dtype, block, strides=(1,))
    return begun[places]


def offsets_of(lengths: Numbers) -> Numbers:
    """Return where each of the pieces begins when they lie one after another, and where the last ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def joined(parts: list["Values"]) -> "Values":
    """Return the rows of `parts`, which are of one kind and type, one after another; there is at least one part."""
    first = parts[0]
    if len(parts) == 1:
        return first
    null = np.concatenate([part.null for part in parts])
    match first:
        case FixedValues():
            fixed = [part.values for part in parts if isinstance(part, FixedValues)]
            return FixedValues(first.type_code, np.concatenate(fixed), null)
        case BytesValues():
            texts = [part for part in parts if isinstance(part, BytesValues)]
            lengths = np.concatenate([np.diff(part.offsets) for part in texts])
            pieces = [part.data[int(part.offsets[0]) : int(part.offsets[-1])] for part in texts]
            return BytesValues(first.type_code, np.concatenate(pieces), offsets_of(lengths), null)
        case ArrayValues():
            arrays = [part for part in parts if isinstance(part, ArrayValues)]
            counts = np.concatenate([np.diff(part.offsets) for part in arrays])
            values = np.concatenate([part.values for part in arrays])
            shapes = np.concatenate([part.shapes for part in arrays])
            return ArrayValues(first.type_code, shapes, values, offsets_of(counts), null)
