"""Rows of variable-width columns whose offsets, lengths or bytes do not fit (StringTypeDriver, VarcharTypeDriver, …).

formats/segment.py has the fields of `.i`. An array is its i32 lengths by dimension, padded to 8 bytes, and its f64
elements (ArrayTypeDriver; measured on 9.1.0: each value begins where the one before it ends, NULL or not).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_types import ColumnTag, array_dimensions, tag_of
from console.questdb.formats.segment import ARRAY_AUX, VARCHAR_AUX
from console.questdb.reading import ArraySource, DamageError, DbFile

_MAX_DATA: Final = 64 << 20
_VARCHAR: Final = VARCHAR_AUX.dtype
_ARRAY: Final = ARRAY_AUX.dtype
_INLINED, _NULL = 1, 4

Bad = NDArray[np.bool_]
Numbers = NDArray[np.int64]


def aux_shape(tag: ColumnTag | None) -> tuple[int, int]:
    """Return bytes per entry of the auxiliary file, and how many entries it has more than rows."""
    return (8, 1) if tag in (ColumnTag.STRING, ColumnTag.BINARY) else (16, 0)


def end_of_data(tag: ColumnTag | None, aux: DbFile, rows: int) -> int:
    """Return where the value of the last of `rows` rows ends in the data file; 0 where `aux` does not reach it.

    No more than a lower bound of the data file's length, from one entry: a damaged entry may say anything.
    """
    if rows <= 0:
        return 0
    if tag in (ColumnTag.STRING, ColumnTag.BINARY):
        offsets = aux.array(8 * rows, "<i8", 1)
        return max(0, int(offsets[0])) if len(offsets) else 0
    if tag is ColumnTag.ARRAY:
        arrays = aux.array(16 * (rows - 1), _ARRAY, 1)
        return (int(arrays["offset"][0]) & ((1 << 48) - 1)) + max(0, int(arrays["size"][0])) if len(arrays) else 0
    entries = aux.array(16 * (rows - 1), _VARCHAR, 1)
    if tag is not ColumnTag.VARCHAR or not len(entries):
        return 0
    header = int(entries["header"][0])
    size = 0 if header & (_INLINED | _NULL) else header >> 4 & 0x0FFFFFFF
    return (int(entries["low"][0]) | int(entries["high"][0]) << 16) + size


def value_bytes(tag: ColumnTag | None, aux: DbFile, row: int) -> tuple[int, int]:
    """Return where the value of `row` begins and ends in the data file; both the same if it has no bytes there."""
    high = end_of_data(tag, aux, row + 1)
    if tag in (ColumnTag.STRING, ColumnTag.BINARY):
        return end_of_data(tag, aux, row), high
    if tag is ColumnTag.ARRAY:
        arrays = aux.array(16 * row, _ARRAY, 1)
        return (high - max(0, int(arrays["size"][0])) if len(arrays) else high), high
    entries = aux.array(16 * row, _VARCHAR, 1)
    return (int(entries["low"][0]) | int(entries["high"][0]) << 16 if len(entries) else high), high


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


def check_aux_ends(tag: ColumnTag | None, aux: DbFile, rows: int) -> None:
    """Check the first and the last entry for `rows` rows. Raises DamageError with the offset of one that cannot be."""
    if rows <= 0:
        return
    if tag in (ColumnTag.STRING, ColumnTag.BINARY):
        width = 4 if tag is ColumnTag.STRING else 8
        first, last = (aux.array(8 * row, "<i8", 1) for row in (0, rows))
        if len(first) and int(first[0]):
            raise DamageError(f"its first value begins at offset {int(first[0]):,}", 0)
        if len(last) and int(last[0]) < width * rows:
            raise DamageError(f"its values end at offset {int(last[0]):,}: too few for {rows:,} rows", 8 * rows)
    elif tag is ColumnTag.VARCHAR:
        for row in (0, rows - 1):
            entry = aux.array(16 * row, _VARCHAR, 1)
            if len(entry) and not int(entry["header"][0]):
                raise DamageError(f"the entry of row {row:,} is all zeros", 16 * row)
    elif tag is ColumnTag.ARRAY and rows > 1:
        ends = [end_of_data(tag, aux, row) for row in (1, rows)]
        if ends[1] < ends[0]:
            raise DamageError(f"its last array ends at offset {ends[1]:,}, its first at {ends[0]:,}", 16 * (rows - 1))


def bad_variable_rows(type_code: int, aux: ArraySource, data: DbFile, first: int, end: int) -> Bad:
    """Return a mask over the rows first..end - 1: those that do not fit, or lie past the end of a file."""
    match tag_of(type_code):
        case ColumnTag.STRING:
            return _prefixed(aux, data, first, end, "<i4", 2)
        case ColumnTag.BINARY:
            return _prefixed(aux, data, first, end, "<i8", 1)
        case ColumnTag.VARCHAR:
            return _varchar(aux, data, first, end)
        case ColumnTag.ARRAY:
            return _array(array_dimensions(type_code), aux, data, first, end)
        case _:
            return np.zeros(end - first, np.bool_)


def data_fault(type_code: int, aux: DbFile, data: DbFile, row: int, rows: int) -> int | None:
    """Return the offset in the data file at which a bad row's value begins, if its entry fits those beside it.

    None: the entry does not, or is past the end of its file.
    """
    tag = tag_of(type_code)
    first, end = max(0, row - 1), min(rows, row + 2)
    place = row - first
    if tag in (ColumnTag.STRING, ColumnTag.BINARY):
        starts = aux.array(8 * first, "<i8", end - first + 1).astype(np.int64)
        width = 4 if tag is ColumnTag.STRING else 8
        whole = len(starts) == end - first + 1 and bool((np.diff(starts) >= width).all())
        if not whole or (first == 0 and starts[0]) or int(starts[-1]) > data.size:
            return None
        start = int(starts[place])
        return None if _skips_entry(tag, data, start, starts[place + 1 :]) else start
    if tag is ColumnTag.VARCHAR:
        entries = aux.array(16 * first, _VARCHAR, end - first)
        header = entries["header"].astype(np.int64)
        start_of = entries["low"].astype(np.int64) | entries["high"].astype(np.int64) << 16
        size = np.where(header & (_INLINED | _NULL), 0, header >> 4 & 0x0FFFFFFF)
        fits = bool((header != 0).all())
    else:
        entries = aux.array(16 * first, _ARRAY, end - first)
        start_of, size = entries["offset"] & ((1 << 48) - 1), entries["size"].astype(np.int64)
        fits = True
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


def _prefixed(aux: ArraySource, data: DbFile, first: int, end: int, prefix: str, unit: int) -> Bad:
    """STRING (units of 2 bytes) and BINARY: each value ends where the next begins, as its own length says."""
    bad = np.ones(end - first, np.bool_)
    offsets = aux.array(8 * first, "<i8", end - first + 1).astype(np.int64)
    if len(offsets) < 2:
        return bad
    start, stop = offsets[:-1], offsets[1:]
    width = np.dtype(prefix).itemsize
    wrong = (start < 0) | (stop - start < width) | (stop > data.size)
    if first == 0:
        wrong[0] |= start[0] != 0
    lengths, known = _gather(data, start, ~wrong, width)
    stored = lengths.view(prefix).reshape(-1).astype(np.int64)
    wrong |= known & (stop - start != width + unit * np.maximum(stored, 0))
    bad[: len(wrong)] = wrong
    return bad


def _varchar(aux: ArraySource, data: DbFile, first: int, end: int) -> Bad:
    bad = np.ones(end - first, np.bool_)
    entries = aux.array(16 * first, _VARCHAR, end - first)
    if not len(entries):
        return bad
    header = entries["header"].astype(np.int64)
    offset = entries["low"].astype(np.int64) | entries["high"].astype(np.int64) << 16
    outside = (header & (_INLINED | _NULL)) == 0
    size = np.where(outside, header >> 4 & 0x0FFFFFFF, 0)
    wrong = (header == 0) | (outside & (size <= 9)) | (offset + size > data.size)
    wrong |= ((header & (_INLINED | _NULL)) == _INLINED) & (header >> 4 & 15 > 9)
    # appended one after another: a value begins where the one before it ended
    wrong[1:] |= offset[1:] != (offset + size)[:-1]
    if first == 0:
        wrong[0] |= offset[0] != 0
    prefix, known = _gather(data, offset, outside & ~wrong, 6)
    wrong |= known & (prefix != entries["prefix"]).any(axis=1)
    bad[: len(wrong)] = wrong
    return bad


def _array(dimensions: int, aux: ArraySource, data: DbFile, first: int, end: int) -> Bad:
    bad = np.ones(end - first, np.bool_)
    entries = aux.array(16 * first, _ARRAY, end - first)
    if not len(entries):
        return bad
    offset, size = entries["offset"] & ((1 << 48) - 1), entries["size"].astype(np.int64)
    wrong = (size < 0) | (offset + size > data.size)
    wrong |= _out_of_line(offset, offset + np.maximum(size, 0))
    if not offset.any() and not size.any():
        wrong |= bool(data.array(0, "u1", 8 * dimensions).any())  # nothing but NULL, and yet there are values
    lengths, known = _gather(data, offset, (size > 0) & ~wrong, 4 * dimensions)
    shapes = lengths.view("<i4").reshape(-1, dimensions).astype(np.float64)  # a product of damaged ones may be anything
    wrong |= known & ((shapes < 0).any(axis=1) | (size != -(-4 * dimensions // 8) * 8 + 8 * shapes.prod(axis=1)))
    bad[: len(wrong)] = wrong
    return bad


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


def _gather(data: DbFile, offsets: Numbers, wanted: Bad, width: int) -> tuple[NDArray[np.uint8], Bad]:
    """Return `width` bytes at each of the wanted `offsets` (zeros elsewhere) and which rows were read.

    Values that lie further apart than can be held are left unread.
    """
    gathered = np.zeros((len(offsets), width), np.uint8)
    rows = np.flatnonzero(wanted)
    if len(rows):
        low, high = int(offsets[rows].min()), int(offsets[rows].max()) + width
        block = data.array(low, "u1", high - low) if high - low <= _MAX_DATA else np.empty(0, np.uint8)
        rows = rows[offsets[rows] - low + width <= len(block)]
        if len(rows):
            windows = np.lib.stride_tricks.sliding_window_view(block, width)
            gathered[rows] = windows[offsets[rows] - low]
    known = np.zeros(len(offsets), np.bool_)
    known[rows] = True
    return gathered, known
