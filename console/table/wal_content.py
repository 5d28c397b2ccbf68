"""What in the files of a WAL, whatever their times, cannot be of this table: its columns and its symbols.

A WAL directory holds the dictionary of each symbol column as hard links to the table's. Where somebody copied it the
files are its own, of the time of the copy; a dictionary only grows, so that they must be how the table's begin:

    table  sym: BTC ETH SOL XRP     wal1  sym: BTC ETH SOL     may be of this table
                                    wal1  sym: AAPL MSFT       is not
"""

from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.column_files import column_path
from console.questdb.column_versions import read_column_versions
from console.questdb.layout import WalDirectory
from console.questdb.reading import DamageError, DbFile, list_directory
from console.questdb.sequencer_metadata import SequencerMetadata
from console.questdb.symbol_values import HEADER_SIZE, read_dictionary
from console.questdb.table_metadata import TableMetadata

_MOST: Final = 16_384
"""Symbols of a column that are compared, from the first."""


def columns_differ(found: SequencerMetadata, own: TableMetadata, structure: int) -> str:
    """Return how the columns of a segment cannot be those of the table at that version, empty if they can.

    `structure` is the table's version. Each version adds one column at most, and none ever goes from the list; a column
    keeps its type, since a change of type adds another column.
    """
    theirs, ours = found.columns, own.columns
    apart = abs(structure - found.structure_version)
    older, newer = (theirs, ours) if found.structure_version <= structure else (ours, theirs)
    if not len(newer) - apart <= len(older) <= len(newer):
        return f"has {len(theirs):,} columns at structure version {found.structure_version:,}, the table {len(ours):,}"
    for mine, other in zip(theirs, ours, strict=False):
        if mine.type_code != other.type_code:
            return f"has a column {mine.name} of type {mine.type_name} where the table has {other.name}"
    return ""


def symbols_differ(table: Path, own: TableMetadata, wal: WalDirectory, seen: SequencerMetadata) -> str:
    """Return how the symbols of a WAL, whose columns are `seen`, cannot be the table's; empty if they can."""
    versions = read_column_versions(table)
    for column in own.symbols:
        same = column.index < len(seen.columns) and seen.columns[column.index].raw_name == column.raw_name
        if not same:
            continue
        try:
            pair = (column_path(wal.path, column.raw_name, "o"), column_path(wal.path, column.raw_name, "c"))
            theirs = column_path(table, column.raw_name, "o", versions.symbol_name_txn(column.index))
            if pair[0].lstat().st_ino == theirs.lstat().st_ino:
                continue
            count, known = symbol_count(pair[0]), symbol_count(theirs)
            if count > known and known < _MOST:
                return f"has {count:,} symbols in {column.name}, the table {known:,}"
            compared = min(count, known)
            mine = read_dictionary(wal.path, column.raw_name, compared)
            other = read_dictionary(table, column.raw_name, compared, versions.symbol_name_txn(column.index))
        except (DamageError, OSError):
            continue
        if (mine.data == 0).any():  # zeros that a repair of the table's file has named: they tell of no other table
            continue
        if not (np.array_equal(mine.offsets, other.offsets) and np.array_equal(mine.data, other.data)):
            return f"has other symbols in {column.name} than the table"
    return ""


def symbol_count(offsets: Path) -> int:
    """Return how many symbols the offsets of a dictionary file `.o` tell of, `_MOST` at most. Raises OSError.

    Each symbol takes four bytes at least, so that the offsets rise; behind the last they are zero.
    """
    with DbFile(offsets) as file:
        found = file.array(HEADER_SIZE, "<i8", _MOST + 1)
    rising = np.flatnonzero(np.diff(found) < 4)
    return int(rising[0]) if len(rising) else max(0, len(found) - 1)


def symbols_linked(table: Path, wal: WalDirectory) -> bool | None:
    """Return whether a symbol file of a WAL is a link to the table's of that name, None if there are no two of a name.

    After a change of its symbol capacity the table's file has another name.
    """
    entries, _ = list_directory(wal.path)
    names = [entry.name for entry in entries if entry.is_file and entry.name.endswith((".c", ".o"))]
    pairs = [(_inode(wal.path / name), theirs) for name in names if (theirs := _inode(table / name)) is not None]
    return any(mine == theirs for mine, theirs in pairs) if pairs else None


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except OSError:
        return None
