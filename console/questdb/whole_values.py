"""Which values of a variable-width column are whole, and where, whichever of its two files is damaged.

    row           0      1      2 .. 5     6      7
    entry (.i)    fits   fits   zeros      fits   fits      a page of entries is lost: 2 .. 5 are lost
    value (.d)    fits   fits   fits       zeros  fits      a page of values is lost: 6 is lost

STRING and BINARY values say how long they are: where their entries are lost the values are walked through. A VARCHAR or
an array that has bytes in the data file is whole if these fit its entry; one that has none (NULL, or a short VARCHAR
within its entry) must stand where its neighbours say, since bytes of another file can look like such an entry.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from console.questdb.column_types import ColumnTag
from console.questdb.formats.segment import ARRAY_AUX, VARCHAR_AUX
from console.questdb.partition_columns import StoredColumn
from console.questdb.reading import DbFile
from console.questdb.rebuilt_offsets import rebuilt_offsets, tells_offsets
from console.questdb.variable_columns import Bad, Numbers, bad_variable_rows, places_of

_BLOCK: Final = 1 << 13
_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class WholeValues:
    """By row where a value begins in the data file, its bytes there, and whether it is `lost`.

    `entries` are those of VARCHAR and arrays as they are on disk, zeros where the file ends before; None for STRING and
    BINARY. `unwalked` is the offset where no value can be though the data file goes on: more may lie behind it.
    """

    start: Numbers
    size: Numbers
    lost: Bad
    entries: NDArray[Any] | None = None
    unwalked: int | None = None

    @property
    def whole_rows(self) -> int:
        return int(np.argmax(self.lost)) if self.lost.any() else len(self.lost)


class _Absent:
    """A file that is not there: it has no item."""

    size = 0

    def array(self, offset: int, dtype: DTypeLike, count: int) -> NDArray[Any]:
        del offset, count
        return np.empty(0, dtype)


def whole_values(each: StoredColumn) -> WholeValues:
    """Return which of a column's stored rows have their value. Raises OSError; a file that is missing has no value."""
    with ExitStack() as opened:
        aux, data = (_opened(opened, path) for path in (each.aux, each.data))
        tag = each.column.tag
        if tag is not None and tells_offsets(tag):
            return _prefixed(each, tag, aux, data)
        return _of_entries(each, aux, data)


def _opened(opened: ExitStack, path: Path) -> DbFile | _Absent:
    try:
        return opened.enter_context(DbFile(path))
    except FileNotFoundError:
        return _Absent()


def _bad(each: StoredColumn, aux: DbFile | _Absent, data: DbFile | _Absent) -> Bad:
    parts = [
        bad_variable_rows(each.column.type_code, aux, data, at, min(each.rows, at + _BLOCK), alone=True)
        for at in range(0, each.rows, _BLOCK)
    ]
    return np.concatenate([np.empty(0, np.bool_), *parts])


def runs(mask: Bad) -> Iterator[tuple[int, int]]:
    """Yield the first row and the end of each stretch of rows that `mask` has."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _prefixed(each: StoredColumn, tag: ColumnTag, aux: DbFile | _Absent, data: DbFile | _Absent) -> WholeValues:
    rows, lost, unwalked = each.rows, _bad(each, aux, data), None
    offsets = np.zeros(rows + 1, np.int64)
    stored = aux.array(0, "<i8", rows + 1)
    offsets[: len(stored)] = stored
    if not isinstance(data, DbFile):
        return WholeValues(np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.ones(rows, np.bool_))
    for first, end in list(runs(lost)):
        target = int(offsets[end]) if end < rows else None
        walked = rebuilt_offsets(tag, data, end - first, int(offsets[first]) if first else 0)
        whole = len(walked) - 1
        if target is not None and (whole < end - first or int(walked[-1]) != target):
            whole = 0
        elif whole < end - first and int(walked[-1]) + 4 <= data.size and not _ends(data, int(walked[-1])):
            unwalked = int(walked[-1])  # garbage, or a page of zeros before it
            whole = _before_zeros(tag, data, walked)
        # the offset of the row behind a stretch that is not walked through stays that row's own
        offsets[first : first + whole + (whole > 0)] = walked[: whole + (whole > 0)]
        lost[first : first + whole] = False
    start, size = offsets[:-1].copy(), np.diff(offsets)
    start[lost], size[lost] = 0, 0
    _cut_by_zeros(tag, data, start, size, lost)
    return WholeValues(start, size, lost, unwalked=unwalked)


def _ends(data: DbFile, at: int) -> bool:
    """Whether a value begins there that the end of the file cuts off."""
    return int(data.array(at, "<i4", 1)[0]) > 0


def _before_zeros(tag: ColumnTag, data: DbFile, offsets: Numbers) -> int:
    """Return how many values stand before the zeros that led to an offset where no value can be."""
    sizes = np.diff(offsets)
    width = 4 if tag is ColumnTag.STRING else 8
    count = len(sizes)
    while count and sizes[count - 1] == width and not data.array(int(offsets[count - 1]), "u1", width).any():
        count -= 1
    return count


def _cut_by_zeros(tag: ColumnTag, data: DbFile, start: Numbers, size: Numbers, lost: Bad) -> None:
    """Count as lost the value that a lost page begins in: the row behind it is lost, and its last bytes are zeros."""
    width = {ColumnTag.STRING: 2, ColumnTag.ARRAY: 8}.get(tag, 1)
    before = np.flatnonzero(~lost[:-1] & lost[1:] & (size[:-1] > 8))
    for row in before.tolist():
        if not data.array(int(start[row] + size[row]) - width, "u1", width).any():
            lost[row] = True


def _of_entries(each: StoredColumn, aux: DbFile | _Absent, data: DbFile | _Absent) -> WholeValues:
    varchar = each.column.tag is ColumnTag.VARCHAR
    dtype: Any = VARCHAR_AUX.dtype if varchar else ARRAY_AUX.dtype
    entries = np.zeros(each.rows, dtype)
    read = aux.array(0, dtype, each.rows)
    entries[: len(read)] = read
    start, size = places_of(entries)
    size = np.maximum(size, 0)
    bad = _bad(each, aux, data)
    lost = ~_trusted(start, start + size, bad, size > 0, data)
    if isinstance(data, DbFile) and each.column.tag is not None:
        behind = np.zeros(len(lost), np.bool_)
        behind[1:] = lost[1:] & (start[1:] == (start + size)[:-1])  # its entry is whole, and its value is not
        cut = lost.copy()
        _cut_by_zeros(each.column.tag, data, start, size, cut)
        lost[:-1] |= cut[:-1] & behind[1:]
    return WholeValues(start, size, lost, entries)


def _trusted(start: Numbers, stop: Numbers, bad: Bad, outside: Bad, data: DbFile | _Absent) -> Bad:
    """Return the rows whose entries are to be believed.

    Rows that follow on one another are a stretch. One with a value in the data file is believed for that, in order; one
    without must begin where the believed one before it ends, and the next must begin there too.
    """
    if not len(bad):
        return bad
    breaks = np.ones(len(bad), np.bool_)
    breaks[1:] = bad[1:] | bad[:-1] | (start[1:] != stop[:-1])
    firsts = np.flatnonzero(breaks)
    lasts = np.append(firsts[1:], len(bad)) - 1
    strong = np.logical_or.reduceat(outside & ~bad, firsts) & ~bad[firsts]
    reached = np.maximum.accumulate(np.where(strong, stop[lasts], 0))
    before = np.append(0, reached[:-1])
    strong &= start[firsts] >= before
    following = np.where(strong, start[firsts], -1)
    place = np.append(np.where(strong, np.arange(len(firsts)), len(firsts))[1:], len(firsts))
    nearest = np.minimum.accumulate(place[::-1])[::-1]
    end = _end_of_values(data, int(reached[-1]))
    after = np.append(following, end)[nearest]
    weak = ~strong & ~bad[firsts] & (start[firsts] == before) & (stop[lasts] == after)
    return np.repeat(strong | weak, lasts - firsts + 1)


def _end_of_values(data: DbFile | _Absent, at: int) -> int:
    """Return `at` if only zeros are behind it in the data file, else -1: there are values that no entry names."""
    place = at
    while isinstance(data, DbFile) and (place := data.next_data(place)) < data.size:
        block = data.array(place, "u1", _AT_ONCE)
        if block.any() or not len(block):
            return -1
        place += len(block)
    return at
