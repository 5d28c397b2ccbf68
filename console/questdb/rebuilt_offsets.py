"""Offsets of STRING and BINARY values found in the data file itself: each value says how long it is.

STRING: i32 count of UTF-16 units (-1: NULL) and the units; BINARY: i64 count of bytes (-1: NULL) and the bytes
(StringTypeDriver, BinaryTypeDriver).
"""

import struct
from typing import Final

import numpy as np

from console.questdb.column_types import ColumnTag
from console.questdb.reading import DbFile
from console.questdb.row_values import Numbers

_CHUNK: Final = 4 << 20
_SHAPES: Final = {ColumnTag.STRING: (4, 2, "<i"), ColumnTag.BINARY: (8, 1, "<q")}


def tells_offsets(tag: ColumnTag | None) -> bool:
    """Return whether values of a type say how long they are."""
    return tag in _SHAPES


def rebuilt_offsets(tag: ColumnTag, data: DbFile, rows: int, start: int = 0) -> Numbers:
    """Return where each of `rows` values from `start` on begins and where the last ends: `rows` + 1 offsets.

    Fewer if the file ends before, or a length cannot be: then the last offset is where the last whole value ends.
    Raises OSError if the file cannot be read.
    """
    width, unit, form = _SHAPES[tag]
    length_at = struct.Struct(form).unpack_from
    offsets = np.full(rows + 1, start, np.int64)
    block, base, at = data.read(start, _CHUNK), start, start
    for row in range(rows):
        if at + width > base + len(block):
            block, base = data.read(at, _CHUNK), at
            if len(block) < width:
                return offsets[: row + 1].copy()
        length = length_at(block, at - base)[0]
        end = at + width + max(0, length) * unit
        if length < -1 or end > data.size:
            return offsets[: row + 1].copy()
        at = offsets[row + 1] = end
    return offsets
