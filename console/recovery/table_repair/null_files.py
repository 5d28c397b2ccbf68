"""Files of a damaged column with NULL where its values are gone: every value that is whole keeps its bytes.

A type without NULL (BOOLEAN, BYTE, SHORT) gets its zero. Values of variable width follow on one another again, as a
server writes them.
"""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.bitmap_index import read_index_header
from console.questdb.column_types import ColumnTag, is_variable, storage_size
from console.questdb.index_check import indexed_keys
from console.questdb.partition_columns import StoredColumn
from console.questdb.reading import DamageError, DbFile
from console.questdb.row_values import null_bytes
from console.questdb.symbol_values import NULL_KEY
from console.questdb.variable_columns import LOW_48, Bad, Numbers
from console.questdb.whole_values import WholeValues, whole_values
from console.recovery.table_repair.index_files import column_index
from console.recovery.table_repair.new_files import NewFile, Part

_NULL: Final = 4
_NULL_BYTES: Final = {ColumnTag.STRING: 4, ColumnTag.BINARY: 8}
"""Of the types whose NULL has bytes in the data file, all of them 0xff."""


@dataclass(frozen=True, slots=True)
class Mended:
    """New files of one column in one partition, how many of its values are lost, and the first rows that are `whole`.

    `why` says that more values may lie in the old files than were found: then these are not to be used.
    """

    column: StoredColumn
    files: tuple[NewFile, ...]
    lost: int
    whole: int
    why: str = ""


def whole_rows(each: StoredColumn) -> int:
    """Return how many stored rows of a column of fixed width are whole, from the first on. Raises OSError."""
    return min(each.rows, _size(each.data) // (storage_size(each.column.type_code) or 1))


def mended(table: Path, each: StoredColumn, symbols: int) -> Mended:
    """Return the new files of a damaged column; of a symbol column only keys below `symbols` are whole.

    Raises OSError.
    """
    if is_variable(each.column.type_code):
        return variable_files(table, each, whole_values(each))
    return _fixed(table, each, symbols)


def _fixed(table: Path, each: StoredColumn, symbols: int) -> Mended:
    width, rows = storage_size(each.column.type_code) or 1, each.rows
    if each.indexed and (restored := _from_index(each, symbols)) is not None:
        return Mended(each, (NewFile.of(_path(table, each.data), restored, "made from its index"),), 0, rows)
    whole = min(rows, _size(each.data) // width)
    if each.column.tag is ColumnTag.SYMBOL:
        return _symbols(table, each, whole, symbols)
    told = f"{whole:,} values, then NULL"
    file = _grown(table, each.data, whole * width, null_bytes(each.column.type_code) * (rows - whole), told)
    return Mended(each, (file,), rows - whole, whole)


def _symbols(table: Path, each: StoredColumn, whole: int, symbols: int) -> Mended:
    """NULL for the keys that no symbol has, and for those of the rows behind `whole`."""
    column = np.full(each.rows, NULL_KEY, "<i4")
    if whole:
        with DbFile(each.data) as data:
            column[:whole] = data.array(0, "<i4", whole)
    unknown = (column != NULL_KEY) & ((column < 0) | (column >= symbols))
    column[unknown] = NULL_KEY
    lost = each.rows - whole + int(unknown.sum())
    if unknown.any():
        file = NewFile.of(_path(table, each.data), column.tobytes(), f"{each.rows - lost:,} values, else NULL")
        whole = int(np.argmax(unknown))
    else:
        null = column[whole:].tobytes()
        file = _grown(table, each.data, column.itemsize * whole, null, f"{whole:,} values, then NULL")
    index = index_files(table, each, column) if each.indexed else []
    return Mended(each, (file, *index), lost, whole)


def _from_index(each: StoredColumn, symbols: int) -> bytes | None:
    """Return a symbol column as its index has it, None if the index does not name each row once, by a known symbol."""
    first = each.span.rows - each.rows
    keys, values = each.index_files()
    try:
        with DbFile(keys) as key_file, DbFile(values) as value_file:
            found = indexed_keys(key_file, value_file, first, each.span.rows, lambda _: None)
    except (DamageError, OSError):
        return None
    return None if (found >= symbols).any() else bytes(found.tobytes())


def index_files(table: Path, each: StoredColumn, column: NDArray[Any]) -> list[NewFile]:
    """Return the index of a symbol column whose stored rows have the keys `column` (i32)."""
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


def variable_files(table: Path, each: StoredColumn, found: WholeValues) -> Mended:
    """Return the values that are whole, one after another, and NULL for the others. A file that is right stays."""
    tag = each.column.tag
    lost = int(found.lost.sum())
    null = b"\xff" * (_NULL_BYTES.get(tag, 0) if tag is not None else 0)
    size = np.where(found.lost, len(null), found.size)
    places = np.concatenate(([0], np.cumsum(size)))
    if found.entries is None:
        aux = places.astype("<i8").tobytes()
    else:
        aux = _entries(found.entries.copy(), found.lost, places[:-1], varchar=tag is ColumnTag.VARCHAR).tobytes()
    parts, whole = _values(found, places, null), each.rows - lost
    files = []
    if not _has(each.aux, aux):
        told = f"offsets of {each.rows:,} values" if null else f"{whole:,} entries of values, {lost:,} of NULL"
        files.append(NewFile.of(_path(table, each.aux), aux, told))
    kept = len(parts) <= 1 and all(not part.content and part.at == part.old_at for part in parts)
    if not kept or not each.data.exists() or (lost and not parts):
        told = f"{whole:,} values, then NULL" if not found.lost[:whole].any() else f"{whole:,} values, else NULL"
        files.insert(0, NewFile(_path(table, each.data), int(places[-1]), parts, told if parts else "no value"))
    why = "" if files else f"{each.aux.name} and {each.data.name}: no value is known to be gone"
    if found.unwalked is not None:
        why = f"{each.data.name} has no value at offset {found.unwalked:,}, and does not end there"
    return Mended(each, tuple(files), lost, found.whole_rows, why)


def _entries(entries: NDArray[Any], lost: Bad, places: Numbers, *, varchar: bool) -> NDArray[Any]:
    entries[lost] = np.zeros((), entries.dtype)
    if varchar:
        entries["header"][lost] = _NULL
        entries["low"], entries["high"] = places & 0xFFFF, places >> 16
    else:
        entries["offset"] = (entries["offset"] & ~LOW_48) | places
    return entries


def _values(found: WholeValues, places: Numbers, null: bytes) -> tuple[Part, ...]:
    """Return the data file in parts: stretches of the old one, and between them `null` for each value that is lost."""
    breaks = np.ones(len(found.lost), np.bool_)
    ends = found.start + found.size
    breaks[1:] = (found.lost[1:] != found.lost[:-1]) | (~found.lost[1:] & (found.start[1:] != ends[:-1]))
    firsts = np.flatnonzero(breaks)
    parts = []
    for first, end in zip(firsts.tolist(), [*firsts[1:].tolist(), len(breaks)], strict=True):
        at, length = int(places[first]), int(places[end] - places[first])
        if length and found.lost[first]:
            parts.append(Part(at, null * (end - first)))
        elif length:
            parts.append(Part(at, length=length, old_at=int(found.start[first])))
    return tuple(parts)


def _has(path: Path, content: bytes) -> bool:
    try:
        with DbFile(path) as file:
            return file.read(0, len(content)) == content
    except FileNotFoundError:
        return False


def _grown(table: Path, path: Path, kept: int, more: bytes, told: str) -> NewFile:
    parts = [Part(0, length=kept)] if kept else []
    return NewFile(_path(table, path), kept + len(more), (*parts, Part(kept, more)) if more else tuple(parts), told)


def _path(table: Path, path: Path) -> str:
    return str(path.relative_to(table))


def _size(path: Path) -> int:
    """Return the bytes of a regular file, 0 for anything else: what a link leads to is not the column's."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
