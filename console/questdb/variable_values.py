"""Values of variable-width columns: STRING, VARCHAR, BINARY, ARRAY, from an auxiliary file of offsets and a data file.

Sources: StringTypeDriver, VarcharTypeDriver, BinaryTypeDriver, ArrayTypeDriver (layouts as in variable_columns). Every
offset is checked against the file; a row that does not fit raises, so torn rows are to be left out beforehand.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_types import ColumnTag, array_dimensions, tag_of
from console.questdb.formats.segment import ARRAY_AUX, VARCHAR_AUX
from console.questdb.reading import ArraySource, DamageError, DbFile, ProblemKind
from console.questdb.row_values import ArrayValues, Bytes, BytesValues, Numbers, Values, gather, items_at, offsets_of
from console.questdb.utf16 import utf8_of
from console.questdb.variable_columns import places_of

_VARCHAR: Final = VARCHAR_AUX.dtype
_ARRAY: Final = ARRAY_AUX.dtype
_INLINED, _NULL = 1, 4
_MAX_SPAN: Final = 1 << 30
_F8: Final = 8


def variable_values(type_code: int, aux: ArraySource, data: DbFile, first: int, end: int) -> Values:
    """Return the rows first..end - 1. Raises DamageError where they do not lie whole in the two files."""
    match tag_of(type_code):
        case ColumnTag.STRING:
            return _prefixed(type_code, aux, data, first, end, "<i4", 2)
        case ColumnTag.BINARY:
            return _prefixed(type_code, aux, data, first, end, "<i8", 1)
        case ColumnTag.VARCHAR:
            return _varchar(type_code, aux, data, first, end)
        case ColumnTag.ARRAY:
            return _array(type_code, aux, data, first, end)
        case _:
            raise DamageError(f"type {type_code} has no variable width")


def data_span(type_code: int, aux: ArraySource, first: int, end: int) -> int:
    """Return about how many bytes the rows first..end - 1 take in the data file, so that chunks can be bounded."""
    if end <= first:
        return 0
    if tag_of(type_code) in (ColumnTag.STRING, ColumnTag.BINARY):
        low, high = aux.array(8 * first, "<i8", 1), aux.array(8 * end, "<i8", 1)
    else:
        form = _VARCHAR if tag_of(type_code) is ColumnTag.VARCHAR else _ARRAY
        low, high = (places_of(aux.array(16 * row, form, 1))[0] for row in (first, end - 1))
    return max(0, int(high[0]) - int(low[0])) if len(low) and len(high) else 0


def _prefixed(
    type_code: int, aux: ArraySource, data: DbFile, first: int, end: int, prefix: str, unit: int
) -> BytesValues:
    offsets = aux.array(8 * first, "<i8", end - first + 1).astype(np.int64)
    if len(offsets) != end - first + 1:
        raise DamageError("its offsets end before its rows do", 8 * first, ProblemKind.SHORT)
    width = np.dtype(prefix).itemsize
    low, high = int(offsets[0]), int(offsets[-1])
    if (np.diff(offsets) < width).any() or int(offsets.min()) < low or int(offsets.max()) > high:  # differences wrap
        raise DamageError("offsets that do not follow one another", 8 * first)
    block, base = _block(data, low, high)
    starts = offsets[:-1] - base
    stored = items_at(block, starts, prefix).astype(np.int64)
    null = stored < 0
    lengths = np.where(null, 0, stored * unit)
    if (starts + width + lengths != offsets[1:] - base).any():
        raise DamageError("values whose length is not what their offsets say", 8 * first)
    if unit == 1:
        return BytesValues(type_code, gather(block, starts + width, lengths), offsets_of(lengths), null)
    text, sizes = utf8_of(_units(block, starts + width, lengths), lengths // 2)
    return BytesValues(type_code, text, offsets_of(sizes), null)


def _units(block: Bytes, starts: Numbers, lengths: Numbers) -> NDArray[np.uint16]:
    """Return the UTF-16 units of the values at `starts`, one value after another."""
    if (starts & 1).any():  # only damage moves a value to an odd byte
        return gather(block, starts, lengths).view("<u2")
    return gather(block[: len(block) & ~1].view("<u2"), starts // 2, lengths // 2)


def _varchar(type_code: int, aux: ArraySource, data: DbFile, first: int, end: int) -> BytesValues:
    entries = _entries(aux, _VARCHAR, first, end)
    header = entries["header"].astype(np.int64)
    null = (header & _NULL) != 0
    inlined = ~null & ((header & _INLINED) != 0)
    outside = ~null & ~inlined
    offsets, lengths = places_of(entries)
    sizes = np.where(inlined, header >> 4 & 15, lengths)
    if (header == 0).any() or (sizes[inlined] > 9).any():
        raise DamageError("headers that no varchar has", 16 * first)
    used = offsets[outside]
    low = int(used.min()) if len(used) else 0
    high = int((used + sizes[outside]).max()) if len(used) else 0
    block, base = _block(data, low, high)
    # short values lie in their entry, behind the one byte of size; the others in the data file
    own = entries.view(np.uint8).reshape(-1)
    both = np.concatenate([own, block])
    starts = np.where(outside, len(own) + offsets - base, np.arange(len(entries)) * 16 + 1)
    return BytesValues(type_code, gather(both, starts, sizes), offsets_of(sizes), null)


def _array(type_code: int, aux: ArraySource, data: DbFile, first: int, end: int) -> ArrayValues:
    dimensions = array_dimensions(type_code)
    if tag_of(type_code >> 8 & 0x3F) is not ColumnTag.DOUBLE:
        raise DamageError("an array whose elements are no doubles: 9.1.0 has none")
    entries = _entries(aux, _ARRAY, first, end)
    offsets, sizes = places_of(entries)
    null = sizes == 0
    used = offsets[~null]
    low = int(used.min()) if len(used) else 0
    high = int((used + sizes[~null]).max()) if len(used) else 0
    block, base = _block(data, low, high)
    shape_size = np.where(null, 0, 4 * dimensions)
    if (sizes < shape_size).any():
        raise DamageError("arrays too small for their shape", 16 * first)
    shapes = np.zeros((len(entries), dimensions), np.int64)
    shapes[~null] = gather(block, offsets - base, shape_size).view("<i4").reshape(-1, dimensions)
    counts: Numbers = np.where(null, 0, shapes.prod(axis=1))
    # the values are aligned to their own size within the file
    begin = (offsets + shape_size + _F8 - 1) // _F8 * _F8
    wrong = (shapes < 0).any() or (shapes > _MAX_SPAN).any() or (counts < 0).any() or (counts > _MAX_SPAN).any()
    if wrong or (begin + _F8 * counts > offsets + sizes)[~null].any():
        raise DamageError("arrays whose shape does not fit their size", 16 * first)
    packed = gather(block, np.where(null, 0, begin - base), _F8 * counts)
    return ArrayValues(type_code, shapes, packed.view("<f8"), offsets_of(counts), null)


def _entries(aux: ArraySource, dtype: np.dtype[np.void], first: int, end: int) -> NDArray[np.void]:
    entries = aux.array(16 * first, dtype, end - first)
    if len(entries) != end - first:
        raise DamageError("its entries end before its rows do", 16 * first, ProblemKind.SHORT)
    return entries


def _block(data: DbFile, low: int, high: int) -> tuple[Bytes, int]:
    """Return the bytes low..high - 1 of the data file and `low`."""
    if high - low > _MAX_SPAN:
        raise DamageError(f"values of {high - low:,} bytes in one chunk", low)
    block = data.array(low, "u1", high - low)
    if len(block) != high - low:
        raise DamageError("values past the end of their file", low, ProblemKind.SHORT)
    return block, low
