"""Every value of a column in a partition, read once in blocks: which rows cannot be what a server wrote.

Rows are numbered from the first that the column's file holds; `offset` is the byte of `file` where the first bad row
lies. All values are little-endian, as in column_types.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_types import ColumnTag, storage_size
from console.questdb.partition_columns import StoredColumn
from console.questdb.reading import DbFile
from console.questdb.symbol_values import NULL_KEY
from console.questdb.variable_columns import aux_shape, bad_variable_rows, data_fault, end_of_data, rows_within
from console.questdb.variable_values import data_span
from console.questdb.zero_pages import PAGE, SECTOR, suspect_zero_pages

BLOCK: Final = 1 << 17
"""Rows of a block of fixed-width values: 1 MiB of timestamps."""
_VARIABLE_BLOCK: Final = 1 << 15
_SPAN: Final = 16 << 20
"""Bytes of the data file that a block of variable-width values takes at most, if it has more than one row."""
_AT_ONCE: Final = 1 << 20
_SAMPLED: Final = 16
"""Pages of a column that tell how often its values are zero."""
Advance = Callable[[int], None]
"""Gets how many bytes were read since the last call; may raise, which ends the check."""


class Wrong(StrEnum):
    """What is wrong with rows of a column."""

    TIMESTAMPS = "timestamps"  # not in order, or outside the partition
    SYMBOL_KEYS = "symbol-keys"  # not in the symbol map
    VALUES = "values"  # offsets, lengths or prefixes that do not fit
    ZERO_PAGES = "zero-pages"  # suspect only: zeros are values too


@dataclass(frozen=True, slots=True)
class BadRows:
    """Rows of one column: `rows` of them are bad, the first is `first_row` (within the file), at `offset` of `file`."""

    wrong: Wrong
    file: Path
    first_row: int
    rows: int
    offset: int
    what: str


def bad_timestamps(file: DbFile, rows: int, low: int, high: int | None, advance: Advance) -> Iterator[BadRows]:
    """Yield the rows of a designated timestamp that are below `low`, at or above `high`, or before the row before."""
    before = low
    first, bad, value, at = -1, 0, 0, 0
    for values in file.blocks("<i8", rows, BLOCK):
        falls = values[1:] < values[:-1]
        if falls.any() or int(values[0]) < before or (high is not None and int(values[-1]) >= high):
            wrong = np.concatenate([[values[0] < before], falls])
            wrong |= values < low
            if high is not None:
                wrong |= values >= high
            if first < 0:
                row = int(np.argmax(wrong))
                first, value = at + row, int(values[row])
            bad += int(np.count_nonzero(wrong))
        before = int(values[-1])
        at += len(values)
        advance(8 * len(values))
    if bad:
        what = f"row {first:,} has timestamp {value}: not in order, or outside the partition"
        yield BadRows(Wrong.TIMESTAMPS, file.path, first, bad, 8 * first, what)


def bad_symbol_keys(file: DbFile, rows: int, count: int, advance: Advance) -> Iterator[BadRows]:
    """Yield the rows whose key is neither null nor one of the `count` symbols of the map."""
    first, bad, value, at = -1, 0, 0, 0
    for keys in file.blocks("<i4", rows, BLOCK):
        if int(keys.max()) >= count or int(keys.min()) < 0:
            wrong = ((keys < 0) & (keys != NULL_KEY)) | (keys >= count)
            found = int(np.count_nonzero(wrong))
            if found and first < 0:
                row = int(np.argmax(wrong))
                first, value = at + row, int(keys[row])
            bad += found
        at += len(keys)
        advance(4 * len(keys))
    if bad:
        what = f"row {first:,} has key {value}, and the symbol map has {count:,} symbols"
        yield BadRows(Wrong.SYMBOL_KEYS, file.path, first, bad, 4 * first, what)


def suspect_zeros(file: DbFile, each: StoredColumn, advance: Advance) -> Iterator[BadRows]:
    """Yield stretches of rows in whole pages of zeros, in a column that is hardly ever zero."""
    width = storage_size(each.column.type_code) or 0
    for low, high in suspect_zero_pages(file, width, width * each.rows):
        what = f"rows {low:,} to {high - 1:,} are zeros to the page, as if they never reached the disk"
        yield BadRows(Wrong.ZERO_PAGES, file.path, low, high - low, width * low, what)
    advance(width * each.rows)


def share_of_zeros(file: DbFile, width: int, rows: int) -> float:
    """Return about how many of the values are all zeros, from 0 to 1; exactly 1 only if every one is."""
    size = min(width * rows, file.size)
    pages = np.unique(np.linspace(0, max(0, size - 1) // PAGE, _SAMPLED).astype(np.int64)) * PAGE
    zeros = values = 0
    for at in (int(page) // width * width for page in pages):
        found = file.array(at, "u1", min(PAGE, size - at))
        matrix = found[: len(found) // width * width].reshape(-1, width)
        zeros, values = zeros + len(matrix) - int(np.count_nonzero(matrix.any(axis=1))), values + len(matrix)
    if not values or zeros < values:
        return zeros / values if values else 0.0
    return 1.0 if not any(block.any() for block in file.blocks("u1", size, _AT_ONCE)) else 1.0 - 1 / (rows + 1)


def bad_values(each: StoredColumn, aux: DbFile, data: DbFile, advance: Advance) -> Iterator[BadRows]:
    """Yield the rows of a variable-width column whose offset, length or first bytes do not fit one another."""
    entry, _ = aux_shape(each.column.tag)
    first, bad, at = -1, 0, 0
    while at < each.rows:
        end = _end_of_block(each, aux, at)
        wrong = _variable_block(each, aux, data, at, end)
        found = int(np.count_nonzero(wrong))
        if found and first < 0:
            first = at + int(np.argmax(wrong))
        bad += found
        advance(entry * (end - at) + max(0, data_span(each.column.type_code, aux, at, end)))
        at = end
    if bad:
        what = f"the value of row {first:,} does not fit its offset, its length or the values beside it"
        start = data_fault(each.column.type_code, aux, data, first, each.rows)
        file, offset = (aux.path, entry * first) if start is None else (data.path, start)
        yield BadRows(Wrong.VALUES, file, first, bad, offset, what)


def suspect_empty_values(each: StoredColumn, aux: DbFile, data: DbFile) -> Iterator[BadRows]:
    """Yield stretches of empty STRING or BINARY values in whole pages of zeros: NULL is -1, and a lost page is zeros.

    The data file is read only if the column has so many values without content.
    """
    if each.column.tag not in (ColumnTag.STRING, ColumnTag.BINARY):
        return
    width, unit = (4, 2) if each.column.tag is ColumnTag.STRING else (8, 1)
    empty = 0
    for at in range(0, each.rows, BLOCK):
        offsets = aux.array(8 * at, "<i8", min(BLOCK, each.rows - at) + 1)
        empty += int(np.count_nonzero(offsets[1:] - offsets[:-1] == width))
    if width * empty < SECTOR:
        return
    for low, high in suspect_zero_pages(data, unit, end_of_data(each.column.tag, aux, each.rows)):
        first, end = (rows_within(each.column.tag, aux, each.rows, unit * edge) for edge in (low, high))
        if width * (end - first) < unit * (high - low) - width:
            continue  # within a long value
        what = f"rows {first:,} to {end - 1:,} are empty to the page, where NULLs may have stood"
        yield BadRows(Wrong.ZERO_PAGES, data.path, first, end - first, unit * low, what)


def _variable_block(each: StoredColumn, aux: DbFile, data: DbFile, first: int, end: int) -> NDArray[np.bool_]:
    """Return which rows are bad; the first of a block is compared with the last of the block before."""
    seam = min(first, 1)
    return bad_variable_rows(each.column.type_code, aux, data, first - seam, end)[seam:]


def _end_of_block(each: StoredColumn, aux: DbFile, first: int) -> int:
    """Return the row after the last of a block that begins at `first`: few rows if their values are long."""
    rows = min(_VARIABLE_BLOCK, each.rows - first)
    while rows > 1 and data_span(each.column.type_code, aux, first, first + rows) > _SPAN:
        rows //= 2
    return first + rows
