"""The symbol maps of a table as the guard takes them: names (`.c`) and offsets (`.o`), as many as `_txn` counts.

A map only grows until a TRUNCATE, so that what is in it up to that count does not change while it is read.
"""

from pathlib import Path
from typing import Final

from console.questdb.column_files import column_path
from console.questdb.column_versions import read_column_versions
from console.questdb.layout import TableDirectory
from console.questdb.reading import DbFile, Problem
from console.questdb.symbol_files import symbol_faults
from console.questdb.symbol_values import HEADER_SIZE
from console.questdb.table_metadata import read_table_metadata
from console.questdb.table_txn import TxnArea, parse_txn_area, parse_txn_header, read_table_txn
from console.recovery.guard.mirror import NotFollowedError

_MOST: Final = 512 << 10
"""Bytes of a map that is copied: it is written anew whenever it has grown."""


def symbol_maps(table: TableDirectory, copied: bytes) -> dict[str, bytes]:
    """Return the files of each map that is whole and small, by name; `copied` is the `_txn` that they are put beside.

    Raises NotFollowedError where the table was emptied or altered since, DamageError, OSError.
    """
    area, metadata, versions = _area_of(copied), read_table_metadata(table.path), read_column_versions(table.path)
    if isinstance(metadata, Problem) or versions.version is None:
        return {}
    damaged = {fault.column for fault in symbol_faults(table.path, area, metadata, versions)}
    found: dict[str, bytes] = {}
    for column, count in zip(metadata.symbols, area.symbols["count"].tolist(), strict=False):
        if column.name not in damaged:
            name_txn = versions.symbol_name_txn(column.index)
            offsets, values = (column_path(table.path, column.raw_name, suffix, name_txn) for suffix in "oc")
            found |= _files_of(offsets, values, count)
    now = read_table_txn(table.path)
    if now.problems or now.current is None or _life(now.current) != _life(area):
        raise NotFollowedError("its symbol maps change while they are read")
    return found


def maps_of(copied: bytes) -> bytes:
    """Return what stays the same while no symbol map of the table changes, from a `_txn`. Raises DamageError."""
    area = _area_of(copied)
    return repr((_life(area), area.symbols["count"].tolist())).encode()


def _files_of(offsets: Path, values: Path, count: int) -> dict[str, bytes]:
    length = HEADER_SIZE + 8 * (count + 1)
    if length > _MOST:
        return {}
    with DbFile(offsets) as o, DbFile(values) as c:
        ends = o.read(0, length)
        last = int.from_bytes(ends[-8:], "little")
        return {offsets.name: ends, values.name: c.read(0, last)} if length + last <= _MOST else {}


def _area_of(copied: bytes) -> TxnArea:
    header = parse_txn_header(copied)
    base = header.areas[header.version & 1][0]
    return parse_txn_area(copied[base:], base)


def _life(area: TxnArea) -> tuple[int, int, int]:
    """Return what changes where a map is emptied, or is made anew under another name."""
    return area.truncate_version, area.metadata_version, area.column_version
