"""`_txn` with another list of partitions: one taken out, or with fewer rows. All else of the file stays as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_versions import COLUMN_VERSION
from console.questdb.fields import I64_MAX, I64_MIN
from console.questdb.formats.table import TXN_HEADER, TXN_PARTITION, TXN_PARTITIONS, TXN_RECORD, TXN_SYMBOL
from console.questdb.partition_files import PartitionFiles
from console.questdb.reading import read_small
from console.questdb.table_txn import TxnArea


@dataclass(frozen=True, slots=True)
class Extent:
    """First and last timestamp of the rows that stay; None for a table without rows."""

    first: int | None
    last: int | None


def with_partitions(
    table: Path, area: TxnArea, rows: Mapping[int, int], extent: Extent, column_version: int | None = None
) -> bytes:
    """Return `_txn` with `rows` by the start of a partition; one that is not named is taken out.

    `area` is the current state, whose partitions these are; `column_version` is that of a new `_cv`. Offsets:
    formats/table.py.
    """
    data = bytearray(read_small(table / "_txn").data)
    at = area.base + TXN_RECORD.size + TXN_SYMBOL.size * len(area.symbols)
    begin = at + TXN_PARTITIONS.size
    stored = np.frombuffer(bytes(data), TXN_PARTITION.dtype, len(area.partitions), begin).copy()
    kept = np.array([int(start) in rows for start in area.partitions["timestamp"].tolist()], np.bool_)
    flags = stored["rows"].astype(np.int64) & ~((1 << 44) - 1)
    wanted = np.array([rows.get(int(start), 0) for start in area.partitions["timestamp"].tolist()], np.int64)
    stored["rows"] = flags | wanted
    stored, wanted = stored[kept], wanted[kept]
    new = stored.tobytes()
    data[begin : begin + len(new)] = new
    size = len(new)
    _put(data, at, size, 4)
    which = "ab"[0 if _base(data, "a") == area.base else 1]
    _put(data, TXN_HEADER.at(f"{which}_partition_bytes"), size, 4)
    last = int(wanted[-1]) if len(wanted) else 0
    _put(data, area.base + TXN_RECORD.at("transient_rows"), last, 8)
    _put(data, area.base + TXN_RECORD.at("fixed_rows"), int(wanted.sum()) - last, 8)
    _put(data, area.base + TXN_RECORD.at("min_ts"), I64_MAX if extent.first is None else extent.first, 8)
    _put(data, area.base + TXN_RECORD.at("max_ts"), I64_MIN if extent.last is None else extent.last, 8)
    if column_version is not None:
        _put(data, area.base + TXN_RECORD.at("column_version"), column_version, 8)
    return bytes(data)


def tops_of_last(files: PartitionFiles, start: int, rows: int) -> NDArray[Any] | None:
    """Return the entries of `_cv` (COLUMN_VERSION) if the partition at `start`, with `rows`, is to be the last one.

    None: they stay. A column that was added in a later partition has neither entry nor file in this one. A write into
    the last partition takes that for a column without a top, and makes zeros of its NULLs (measured on 9.1.0). So it
    gets an entry as DROP PARTITION writes it: all rows of the partition were there before the column.
    """
    versions = files.versions
    added = [
        (start, column.index, versions.name_txn(start, column.index), rows)
        for column in files.metadata.columns
        if not column.dropped and versions.top(start, column.index) is None
    ]
    return np.concatenate([versions.entries, np.array(added, COLUMN_VERSION)]) if added else None


def _base(data: bytearray, which: str) -> int:
    at = TXN_HEADER.at(f"{which}_offset")
    return int.from_bytes(data[at : at + 4], "little", signed=True)


def _put(data: bytearray, at: int, value: int, size: int) -> None:
    data[at : at + size] = value.to_bytes(size, "little", signed=True)
