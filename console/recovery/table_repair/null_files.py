"""Files of a damaged column with NULL where its values are gone: every value that is whole keeps its bytes.

A type without NULL (BOOLEAN, BYTE, SHORT) gets its zero. STRING and BINARY offsets are found in the data file; entries
of VARCHAR and ARRAY whose value lies past the end of the data file become NULL, at that end.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from console.questdb.bitmap_index import read_index_header
from console.questdb.column_types import ColumnTag, is_variable, storage_size
from console.questdb.fields import I64_MIN
from console.questdb.formats.segment import ARRAY_AUX, VARCHAR_AUX
from console.questdb.partition_columns import StoredColumn, arrays_are_lost
from console.questdb.reading import DamageError, DbFile
from console.questdb.rebuilt_offsets import rebuilt_offsets, tells_offsets
from console.questdb.row_values import Numbers
from console.questdb.variable_columns import rows_within
from console.recovery.table_repair.index_files import column_index, column_of
from console.recovery.table_repair.new_files import NewFile, Part

_LOW_48: Final = (1 << 48) - 1
_INLINED, _NULL = 1, 4
_WORDS: Final = {
    ColumnTag.INT: ("<i4", (-(1 << 31),)),
    ColumnTag.SYMBOL: ("<i4", (-(1 << 31),)),
    ColumnTag.LONG: ("<i8", (I64_MIN,)),
    ColumnTag.DATE: ("<i8", (I64_MIN,)),
    ColumnTag.TIMESTAMP: ("<i8", (I64_MIN,)),
    ColumnTag.FLOAT: ("<f4", (np.nan,)),
    ColumnTag.DOUBLE: ("<f8", (np.nan,)),
    ColumnTag.LONG256: ("<i8", (I64_MIN,) * 4),
    ColumnTag.UUID: ("<i8", (I64_MIN,) * 2),
    ColumnTag.LONG128: ("<i8", (I64_MIN,) * 2),
    ColumnTag.GEOBYTE: ("i1", (-1,)),
    ColumnTag.GEOSHORT: ("<i2", (-1,)),
    ColumnTag.GEOINT: ("<i4", (-1,)),
    ColumnTag.GEOLONG: ("<i8", (-1,)),
    ColumnTag.DECIMAL8: ("i1", (-(1 << 7),)),
    ColumnTag.DECIMAL16: ("<i2", (-(1 << 15),)),
    ColumnTag.DECIMAL32: ("<i4", (-(1 << 31),)),
    ColumnTag.DECIMAL64: ("<i8", (I64_MIN,)),
    ColumnTag.DECIMAL128: ("<i8", (I64_MIN, 0)),
    ColumnTag.DECIMAL256: ("<i8", (I64_MIN, 0, 0, 0)),
}


@dataclass(frozen=True, slots=True)
class Mended:
    """New files of one column in one partition, and how many of its values are lost."""

    column: StoredColumn
    files: tuple[NewFile, ...]
    lost: int


def null_bytes(type_code: int) -> bytes:
    """Return the NULL of a type of fixed width as its files hold it; zeros for a type without one."""
    tag = ColumnTag(type_code & 0xFF)
    if tag not in _WORDS:
        return bytes(storage_size(type_code) or 0)
    dtype, words = _WORDS[tag]
    return np.array(words, dtype).tobytes()


def whole_rows(each: StoredColumn) -> int:
    """Return how many of a column's stored rows are whole, from the first on. Raises OSError."""
    code, tag = each.column.type_code, each.column.tag
    if not is_variable(code):
        return min(each.rows, _size(each.data) // (storage_size(code) or 1))
    if tag is not None and tells_offsets(tag):
        if not each.data.exists():
            return 0
        with DbFile(each.data) as data:
            return len(rebuilt_offsets(tag, data, each.rows)) - 1
    if not each.aux.exists():
        return 0
    with DbFile(each.aux) as aux:
        return rows_within(tag, aux, min(each.rows, aux.size // 16), _size(each.data))


def kept_offsets(table: Path, each: StoredColumn, rows: int) -> NewFile | None:
    """Return the offsets of the first `rows` rows of a damaged STRING or BINARY column, None for another type.

    `whole_rows` counts the values of such a column in its data file, whatever its offsets are.
    """
    tag = each.column.tag
    if rows <= 0 or tag is None or not tells_offsets(tag):
        return None
    with DbFile(each.data) as data:
        offsets = rebuilt_offsets(tag, data, rows)
    return NewFile.of(_path(table, each.aux), offsets.astype("<i8").tobytes(), f"offsets of {rows:,} values")


def mended(table: Path, each: StoredColumn) -> Mended:
    """Return the new files of a damaged column. Raises DamageError if what is left cannot be told, OSError."""
    if not is_variable(each.column.type_code):
        return _fixed(table, each)
    if tells_offsets(each.column.tag):
        return _prefixed(table, each)
    return _entries(table, each)


def _fixed(table: Path, each: StoredColumn) -> Mended:
    width, rows = storage_size(each.column.type_code) or 1, each.rows
    if each.indexed and (restored := _from_index(each)) is not None:
        return Mended(each, (NewFile.of(_path(table, each.data), restored, "made from its index"),), 0)
    whole = min(rows, _size(each.data) // width)
    told = f"{whole:,} values, then NULL"
    files = [_grown(table, each.data, whole * width, null_bytes(each.column.type_code) * (rows - whole), told)]
    if each.indexed:
        files += _index(table, each, whole)
    return Mended(each, tuple(files), rows - whole)


def _from_index(each: StoredColumn) -> bytes | None:
    """Return a symbol column as its index has it, None if the index does not name each row once."""
    first = each.span.rows - each.rows
    keys, values = each.index_files()
    try:
        with DbFile(keys) as key_file, DbFile(values) as value_file:
            return bytes(column_of(key_file, value_file, first, each.span.rows).tobytes())
    except (DamageError, OSError):
        return None


def _index(table: Path, each: StoredColumn, whole: int) -> list[NewFile]:
    column = np.full(each.rows, -(1 << 31), "<i4")
    if whole:
        with DbFile(each.data) as data:
            column[:whole] = data.array(0, "<i4", whole)
    keys, values = each.index_files()
    block = each.column.index_capacity or 256
    try:
        with DbFile(keys) as file:
            block = read_index_header(file).block_values
    except (DamageError, OSError):
        pass
    made = column_index(column, each.span.rows - each.rows, block)
    return [
        NewFile.of(_path(table, path), content, "index of the column as it will be")
        for path, content in ((keys, made.keys), (values, made.values))
    ]


def _prefixed(table: Path, each: StoredColumn) -> Mended:
    """STRING, BINARY: whole values of the data file, a NULL for each that is gone, and offsets of all."""
    tag, rows = each.column.tag, each.rows
    assert tag is not None  # noqa: S101 (its offsets can be told)
    width = 4 if tag is ColumnTag.STRING else 8
    offsets: Numbers = np.zeros(1, np.int64)
    if each.data.exists():
        with DbFile(each.data) as data:
            offsets = rebuilt_offsets(tag, data, rows)
            _refuse_garbage(data, int(offsets[-1]), len(offsets) - 1, rows)
    lost = rows - (len(offsets) - 1)
    end = int(offsets[-1])
    offsets = np.concatenate([offsets, end + width * np.arange(1, lost + 1)])
    files = [NewFile.of(_path(table, each.aux), offsets.astype("<i8").tobytes(), f"offsets of {rows:,} values")]
    if lost:
        told = f"{rows - lost:,} values, then NULL"
        files.insert(0, _grown(table, each.data, end, b"\xff" * (width * lost), told))
    return Mended(each, tuple(files), lost)


def _refuse_garbage(data: DbFile, end: int, whole: int, rows: int) -> None:
    """Raise DamageError if values stop before the end of the data file, where more of them may lie."""
    if whole < rows and end + 4 <= data.size:
        length = data.array(end, "<i4", 1)
        if int(length[0]) < -1 or not int(length[0]):
            raise DamageError(f"{data.path.name} has no value at offset {end:,}, and does not end there", end)


def _entries(table: Path, each: StoredColumn) -> Mended:
    """VARCHAR, ARRAY: entries whose value is not within the data file become NULL, as do those that are gone."""
    varchar = each.column.tag is ColumnTag.VARCHAR
    size, rows = _size(each.data), each.rows
    dtype: Any = VARCHAR_AUX.dtype if varchar else ARRAY_AUX.dtype
    found = np.zeros(rows, dtype)
    known = 0
    if each.aux.exists():
        with DbFile(each.aux) as aux:
            read = aux.array(0, dtype, rows)
            known = len(read)
            found[:known] = read
    if varchar:
        header = found["header"].astype(np.int64)
        start = found["low"].astype(np.int64) | found["high"].astype(np.int64) << 16
        outside = (header & (_INLINED | _NULL)) == 0
        length = np.where(outside, header >> 4 & 0x0FFFFFFF, 0)
        bad = (header == 0) | (outside & (start + length > size))
    else:
        start, length = found["offset"].astype(np.int64) & _LOW_48, found["size"].astype(np.int64)
        outside = length > 0
        bad = outside & (start + length > size)
        bad |= not (start.any() or length.any()) and _arrays_are_lost(each)
    bad[known:] = True
    # An entry without bytes in the data file says where the next value begins: that too must be within the file.
    end = np.maximum.accumulate(np.where(bad | ~outside, 0, start + length))
    moved = bad | (~outside & (start > size))
    if not moved.any() and each.data.exists():
        raise DamageError(f"{each.aux.name} and {each.data.name}: no value is known to be gone")
    found[bad] = np.zeros((), dtype)
    if varchar:
        found["header"][bad] = _NULL
        found["low"][moved], found["high"][moved] = end[moved] & 0xFFFF, end[moved] >> 16
    else:
        found["offset"][moved] = end[moved]
    lost = int(bad.sum())
    told = f"{rows - lost:,} entries of values, {lost:,} of NULL"
    files = [NewFile.of(_path(table, each.aux), found.tobytes(), told)]
    if not each.data.exists() or (lost == rows and not varchar):  # else a check takes what is left for hidden arrays
        files.insert(0, NewFile.of(_path(table, each.data), b"", "no value"))
    return Mended(each, tuple(files), lost)


def _arrays_are_lost(each: StoredColumn) -> bool:
    if not each.aux.exists():
        return False  # no entry says NULL
    with DbFile(each.aux) as aux:
        return arrays_are_lost(each, aux)


def _grown(table: Path, path: Path, kept: int, more: bytes, told: str) -> NewFile:
    parts = [Part(0, length=kept)] if kept else []
    return NewFile(_path(table, path), kept + len(more), (*parts, Part(kept, more)) if more else tuple(parts), told)


def _path(table: Path, path: Path) -> str:
    return str(path.relative_to(table))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
