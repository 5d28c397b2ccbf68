"""Rows of variable-width columns whose offsets, lengths or bytes do not fit (StringTypeDriver, VarcharTypeDriver, …).

formats/segment.py has the fields of `.i`. An array is its i32 lengths by dimension, padded to 8 bytes, and its f64
elements (ArrayTypeDriver; measured on 9.1.0: each value begins where the one before it ends, NULL or not).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_types import ColumnTag, array_dimensions, tag_of
from console.questdb.formats.segment import ARRAY_AUX, VARCHAR_AUX
from console.questdb.reading import ArraySource, DamageError, DbFile
from console.questdb.row_values import items_at

_MAX_DATA: Final = 64 << 20
_VARCHAR: Final = VARCHAR_AUX.dtype
_ARRAY: Final = ARRAY_AUX.dtype
_INLINED, _NULL = 1, 4
_OFFSET: Final = 8
LOW_48: Final = (1 << 48) - 1
"""The bits of an offset in an entry; above it are flags."""
_LATER: Final = 1 << 16
"""Entries behind NULLs that are looked at for the first value: 1 MiB."""

_PREFIXED: Final = (ColumnTag.STRING, ColumnTag.BINARY)

Bad = NDArray[np.bool_]
Numbers = NDArray[np.int64]


def aux_shape(tag: ColumnTag | None) -> tuple[int, int]:
    """Return bytes per entry of the auxiliary file, and how many entries it has more than rows."""
    return (8, 1) if tag in _PREFIXED else (16, 0)


def end_of_data(tag: ColumnTag | None, aux: DbFile, rows: int) -> int:
    """Return where the value of the last of `rows` rows ends in the data file; 0 where `aux` does not reach it.

    No more than a lower bound of the data file's length, from one entry: a damaged entry may say anything.
    """
    if rows <= 0:
        return 0
    size, more = aux_shape(tag)
    return _end_by(tag, aux.read(size * (rows - 1 + more), size))


def _end_by(tag: ColumnTag | None, entry: bytes) -> int:
    """Return where a value ends by its entry (of a STRING or BINARY by the entry behind it), 0 if that is cut off."""
    if tag is ColumnTag.VARCHAR and len(entry) == _VARCHAR.itemsize:
        header = int.from_bytes(entry[:4], "little")
        return int.from_bytes(entry[10:], "little") + (0 if header & (_INLINED | _NULL) else header >> 4)
    if tag in _PREFIXED and len(entry) == _OFFSET:
        return max(0, _signed(entry))
    if tag is ColumnTag.ARRAY and len(entry) == _ARRAY.itemsize:
        return (_signed(entry[:8]) & LOW_48) + max(0, _signed(entry[8:12]))
    return 0


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def value_bytes(tag: ColumnTag | None, aux: DbFile, row: int) -> tuple[int, int]:
    """Return where the value of `row` begins and ends in the data file; both the same if it has no bytes there."""
    high = end_of_data(tag, aux, row + 1)
    if tag in _PREFIXED:
        return end_of_data(tag, aux, row), high
    starts, _ = places_of(aux.array(16 * row, _ARRAY if tag is ColumnTag.ARRAY else _VARCHAR, 1))
    return int(starts[0]) if len(starts) else high, high


def is_null(tag: ColumnTag | None, aux: DbFile, row: int) -> bool:
    """Return whether the value of `row` is NULL; of a STRING, BINARY or ARRAY also whether it is empty."""
    if tag is ColumnTag.VARCHAR:
        return bool(int.from_bytes(aux.read(16 * row, 4), "little") & _NULL)
    low, high = value_bytes(tag, aux, row)
    return high - low <= {ColumnTag.STRING: 4, ColumnTag.BINARY: 8}.get(tag, 0) if tag else False


def rows_within(tag: ColumnTag | None, aux: DbFile, rows: int, size: int) -> int:
    """Return how many of the first rows have their value in the first `size` bytes of the data file.

    A search by halves: values lie one after another.
    """
    low, high = 0, rows
    while low < high:
        middle = (low + high + 1) // 2
        if end_of_data(tag, aux, middle) <= size:
            low = middle
        else:
            high = middle - 1
    return low


def places_of(entries: NDArray[Any]) -> tuple[Numbers, Numbers]:
    """Return where the value of each VARCHAR or ARRAY begins in the data file by its entry, and its bytes there."""
    if entries.dtype == _ARRAY:
        return entries["offset"] & LOW_48, entries["size"].astype(np.int64)
    header = entries["header"].astype(np.int64)
    start = entries["low"].astype(np.int64) | entries["high"].astype(np.int64) << 16
    return start, np.where(header & (_INLINED | _NULL), 0, header >> 4 & 0x0FFFFFFF)


def checked_end(tag: ColumnTag | None, first: bytes, last: bytes, rows: int) -> int:
    """Return `end_of_data` by the first and the last entry of an auxiliary file, if they can be those of `rows` rows.

    Raises DamageError with the offset of an entry that cannot be.
    """
    end = _end_by(tag, last)
    if tag is ColumnTag.VARCHAR:
        for row, entry in ((0, first), (rows - 1, last)):
            if entry[:4] == b"\0\0\0\0":
                raise DamageError(f"the entry of row {row:,} is all zeros", 16 * row)
    elif tag in _PREFIXED:
        width = 4 if tag is ColumnTag.STRING else 8
        begin = _signed(first)
        if begin:
            raise DamageError(f"its first value begins at offset {begin:,}", 0)
        if len(last) == _OFFSET and _signed(last) < width * rows:
            raise DamageError(f"its values end at offset {_signed(last):,}: too few for {rows:,} rows", 8 * rows)
    elif tag is ColumnTag.ARRAY and end < (begin := _end_by(tag, first)):
        raise DamageError(f"its last array ends at offset {end:,}, its first at {begin:,}", 16 * (rows - 1))
    return end


def begins_with_a_value(type_code: int, data: ArraySource) -> bool:
    """Return whether the data file of an ARRAY column begins with the lengths of an array that is not empty."""
    return bool(data.array(0, "u1", 8 * array_dimensions(type_code)).any())


def bad_variable_rows(
    type_code: int, aux: ArraySource, data: ArraySource, first: int, end: int, *, alone: bool = False
) -> Bad:
    """Return a mask over the rows first..end - 1: those that do not fit, or lie past the end of a file.

    With `alone` each is judged by its own entry and value, whatever the entries beside it say.
    """
    match tag_of(type_code):
        case ColumnTag.STRING:
            return _prefixed(aux, data, first, end, "<i4", 2)
        case ColumnTag.BINARY:
            return _prefixed(aux, data, first, end, "<i8", 1)
        case ColumnTag.VARCHAR:
            return _varchar(aux, data, first, end, alone=alone)
        case ColumnTag.ARRAY:
            return _array(type_code, aux, data, first, end, alone=alone)
        case _:
            return np.zeros(end - first, np.bool_)


def data_fault(type_code: int, aux: DbFile, data: DbFile, row: int, rows: int) -> int | None:
    """Return the offset in the data file at which a bad row's value begins, if its entry fits those beside it.

    None: the entry does not, or is past the end of its file.
    """
    tag = tag_of(type_code)
    first, end = max(0, row - 1), min(rows, row + 2)
    place = row - first
    if tag in _PREFIXED:
        starts = aux.array(8 * first, "<i8", end - first + 1).astype(np.int64)
        width = 4 if tag is ColumnTag.STRING else 8
        whole = len(starts) == end - first + 1 and bool((np.diff(starts) >= width).all())
        if not whole or (first == 0 and starts[0]) or int(starts[-1]) > data.size:
            return None
        start = int(starts[place])
        return None if _skips_entry(tag, data, start, starts[place + 1 :]) else start
    entries = aux.array(16 * first, _VARCHAR if tag is ColumnTag.VARCHAR else _ARRAY, end - first)
    start_of, size = places_of(entries)
    fits = tag is not ColumnTag.VARCHAR or bool((entries["header"] != 0).all())
    fits = fits and len(entries) == end - first and bool((start_of[1:] == (start_of + size)[:-1]).all())
    if not fits or not size[place] or int(start_of[place] + size[place]) > data.size:
        return None
    return int(start_of[place])


def _skips_entry(tag: ColumnTag, data: DbFile, start: int, following: Numbers) -> bool:
    """Return whether the lengths in the data file lead past the next entry to the one behind it: that entry is bad."""
    width, unit = (4, 2) if tag is ColumnTag.STRING else (8, 1)
    for _ in range(2):
        length = data.array(start, f"<i{width}", 1)
        if not len(length):
            return False
        start += width + unit * max(0, int(length[0]))
        if start < 0 or start > data.size:
            return False
    return len(following) > 1 and start == int(following[1])


def _prefixed(aux: ArraySource, data: ArraySource, first: int, end: int, prefix: str, unit: int) -> Bad:
    """STRING (units of 2 bytes) and BINARY: each value ends where the next begins, as its own length says."""
    bad = np.ones(end - first, np.bool_)
    offsets = aux.array(8 * first, "<i8", end - first + 1)
    if len(offsets) < 2:
        return bad
    start = offsets[:-1]
    room = np.diff(offsets)
    width = np.dtype(prefix).itemsize
    wrong = room < width
    if int(offsets.min()) < 0 or int(offsets.max()) > data.size:
        outside = (offsets < 0) | (offsets > data.size)  # a difference of such ones wraps
        wrong |= outside[:-1] | outside[1:]
    if first == 0:
        wrong[0] |= start[0] != 0
    stored, rows = _gather(data, start, wrong, prefix)
    lengths = np.maximum(stored, 0).astype(np.int64)
    lengths *= unit
    lengths += width
    if rows is None:
        wrong |= lengths != room
    else:
        wrong[rows] |= lengths != room[rows]
    bad[: len(wrong)] = wrong
    return bad


def _varchar(aux: ArraySource, data: ArraySource, first: int, end: int, *, alone: bool) -> Bad:
    bad = np.ones(end - first, np.bool_)
    words = aux.array(16 * first, "<u8", 2 * (end - first))
    words = words[: len(words) // 2 * 2].reshape(-1, 2)
    if not len(words):
        return bad
    header = words[:, 0].astype(np.uint32)
    offset = (words[:, 1] >> np.uint64(16)).astype(np.int64)
    outside = (header & (_INLINED | _NULL)) == 0
    size = np.where(outside, header >> 4, 0).astype(np.int64)
    stop = offset + size
    wrong = (header == 0) | (outside & (size <= 9)) | (stop > data.size)
    wrong |= ((header & (_INLINED | _NULL)) == _INLINED) & ((header >> 4 & 15) > 9)
    if not alone:  # appended one after another: a value begins where the one before it ended
        wrong[1:] |= offset[1:] != stop[:-1]
        if first == 0:
            wrong[0] |= offset[0] != 0
    found, rows = _gather(data, offset, wrong | ~outside, "<u8")
    of = words if rows is None else words[rows]
    prefix = of[:, 0] >> np.uint64(32) | (of[:, 1] & np.uint64(0xFFFF)) << np.uint64(32)
    differs = (found & np.uint64(LOW_48)) != prefix
    if rows is None:
        wrong |= differs
    else:
        wrong[rows] |= differs
    bad[: len(wrong)] = wrong
    return bad


def _array(type_code: int, aux: ArraySource, data: ArraySource, first: int, end: int, *, alone: bool) -> Bad:
    dimensions = array_dimensions(type_code)
    bad = np.ones(end - first, np.bool_)
    entries = aux.array(16 * first, _ARRAY, end - first)
    if not len(entries):
        return bad
    offset, size = entries["offset"] & LOW_48, entries["size"].astype(np.int64)
    wrong = (size < 0) | (offset + size > data.size)
    if not alone:
        wrong |= _out_of_line(offset, offset + np.maximum(size, 0))
    if not alone and not offset.any() and not size.any():
        wrong |= has_lost_arrays(type_code, aux, data, end)
    lengths, rows = _gather(data, offset, (size <= 0) | wrong, f"{4 * dimensions}u1")
    shapes = lengths.view("<i4").reshape(-1, dimensions).astype(np.float64)  # a product of damaged ones may be anything
    stored = size if rows is None else size[rows]
    differs = (shapes < 0).any(axis=1) | (stored != -(-4 * dimensions // 8) * 8 + 8 * shapes.prod(axis=1))
    wrong[slice(None) if rows is None else rows] |= differs
    bad[: len(wrong)] = wrong
    return bad


def has_lost_arrays(type_code: int, aux: ArraySource, data: ArraySource, end: int) -> bool:
    """Return whether the entries of arrays up to row `end`, which are all NULL, are zeros that were lost values.

    Then the data file begins with the lengths of an array, and no later entry says that this is its value. A later row
    can be one of the same file, of the table's lag, or one that a server was writing when it was killed.
    """
    if not begins_with_a_value(type_code, data):
        return False
    later = aux.array(16 * end, _ARRAY, _LATER)
    held = later[later["size"] > 0][:1]
    if len(held):
        return bool(held["offset"][0] & LOW_48)
    return len(later) < _LATER


def _out_of_line(start: Numbers, stop: Numbers) -> Bad:
    """Return which values step back, or leave a gap before the next one: zeros in the entries, where NULLs stand."""
    reached = np.maximum.accumulate(stop)
    wrong = np.zeros(len(start), np.bool_)
    wrong[1:] = start[1:] < reached[:-1]
    after_gap = np.flatnonzero(start[1:] > reached[:-1]) + 1
    wrong[after_gap - 1] = True
    if len(after_gap) and not stop[: after_gap[0]].any():
        wrong[: after_gap[0]] = True
    return wrong


def _gather(
    data: ArraySource, offsets: Numbers, without: Bad, dtype: str
) -> tuple[NDArray[Any], NDArray[np.intp] | None]:
    """Return the items of `dtype` at the `offsets`, but those of the rows `without`, and which rows they are of.

    None: of all. Items that lie further apart than can be held, or that the file does not hold, are left unread.
    """
    rows = np.flatnonzero(~without) if without.any() else None
    wanted = offsets if rows is None else offsets[rows]
    if not len(wanted):
        return np.empty(0, dtype), rows
    width = np.dtype(dtype).itemsize
    low, high = int(wanted.min()), int(wanted.max()) + width
    block = data.array(low, "u1", high - low) if high - low <= _MAX_DATA else np.empty(0, np.uint8)
    if len(block) < high - low:
        inside = np.flatnonzero(wanted - low + width <= len(block))
        rows, wanted = inside if rows is None else rows[inside], wanted[inside]
        if not len(wanted):
            return np.empty(0, dtype), rows
    return items_at(block, wanted - low, dtype), rows
