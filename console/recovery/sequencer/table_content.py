"""The rows of a table that have one of the timestamps in question, as hashes; those in its lag too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from console.questdb.column_types import is_variable, storage_size
from console.questdb.column_versions import ColumnVersions
from console.questdb.partition_rows import Partition, TableRows
from console.questdb.reading import DamageError, said_of
from console.questdb.row_hashes import Hashes
from console.questdb.table_metadata import TableColumn
from console.questdb.zero_pages import SECTOR
from console.recovery.sequencer.compared_columns import ComparedColumns, Hashed
from console.table.inventory import Index, Mask

_CHUNK: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class TableContent:
    """Rows by timestamp and hash. `unreadable` are the starts of partitions whose rows are not known, `why` says why.

    `doubtful` are timestamps of rows with a value in a page of zeros, which a power loss may have taken, and
    `zero_columns` the partitions (by start) with such pages, by column.
    """

    stamps: Index
    values: Hashes
    sure: Hashes
    keys: Hashes
    doubtful: Index
    zero_columns: Mapping[int, Index]
    unreadable: Index
    why: str


def read_content(rows: TableRows, compared: ComparedColumns, stamps: Index) -> TableContent:
    """Return the rows that have one of `stamps` (ascending, each once). What cannot be read is in the result."""
    floors = np.unique(compared.partitioning.floors(stamps))
    found: list[_Found] = []
    unreadable: list[int] = []
    why = ""
    for at, partition in enumerate(rows.partitions):
        lag = rows.lag_rows if at == len(rows.partitions) - 1 else 0
        if partition.start not in floors and not lag:
            continue
        name = rows.partitioning.name(partition.start)
        if partition.parquet:
            if lag:
                raise DamageError(f"partition {name} is in Parquet, and has the rows of the lag")
            unreadable.append(partition.start)
            why = why or f"partition {name} is in Parquet"
            continue
        try:
            found += _partition(rows, partition, compared, stamps, lag)
        except (DamageError, OSError) as error:
            if lag:  # its rows may be of any time
                raise
            unreadable.append(partition.start)
            why = why or f"partition {name}: {said_of(error, rows.table)}"
    none = compared.begin(0)
    return TableContent(
        stamps=np.concatenate([np.empty(0, np.int64), *(each.stamps for each in found)]),
        values=np.concatenate([none.values, *(each.hashed.values for each in found)]),
        sure=np.concatenate([none.sure, *(each.hashed.sure for each in found)]),
        keys=np.concatenate([none.keys, *(each.hashed.keys for each in found)]),
        doubtful=np.unique(np.concatenate([np.empty(0, np.int64), *(each.doubtful for each in found)])),
        zero_columns=_zero_columns(found),
        unreadable=np.array(unreadable, np.int64),
        why=why,
    )


def partition_hashes(rows: TableRows, versions: ColumnVersions) -> Hashes:
    """Return a hash of each row of a table, all columns by value. Raises DamageError, OSError if one cannot be read."""
    compared = ComparedColumns.of(rows.metadata, versions)
    found = [compared.begin(0).values]
    for partition in rows.partitions:
        if partition.parquet:
            raise DamageError(f"partition {rows.partitioning.name(partition.start)} is in Parquet")
        for first in range(0, partition.rows, _CHUNK):
            end = min(first + _CHUNK, partition.rows)
            hashed = compared.begin(end - first)
            floors = compared.partitioning.floors(rows.timestamps(partition, first, end))
            for column in compared.columns:
                compared.add(hashed, 0, column, rows.values(partition, column, first, end), floors)
            found.append(hashed.values)
    return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class _Found:
    stamps: Index
    hashed: Hashed
    doubtful: Index
    floor: int
    zero_columns: tuple[int, ...]


def _zero_columns(found: list[_Found]) -> dict[int, Index]:
    columns: dict[int, set[int]] = {}
    for each in found:
        for column in each.zero_columns:
            columns.setdefault(column, set()).add(each.floor)
    return {column: np.array(sorted(floors), np.int64) for column, floors in columns.items()}


def _partition(
    rows: TableRows, partition: Partition, compared: ComparedColumns, stamps: Index, lag: int
) -> list[_Found]:
    """Return the partition's rows of those timestamps, a chunk at a time. Raises DamageError, OSError.

    The last `lag` rows are in no order, and of any time: they lie in the last partition until they are committed.
    """
    found: list[_Found] = []
    for first in range(0, partition.rows if len(stamps) else 0, _CHUNK):
        end = min(first + _CHUNK, partition.rows)
        theirs = rows.timestamps(partition, first, end)
        own = theirs[: max(0, partition.rows - lag - first)]
        if (compared.partitioning.floors(own) != partition.start).any():
            raise DamageError("it has timestamps of other partitions")
        place = np.minimum(np.searchsorted(stamps, theirs), len(stamps) - 1)
        mine = np.flatnonzero(stamps[place] == theirs)
        if not len(mine):
            continue
        low, high = int(mine[0]), int(mine[-1]) + 1
        floors = compared.partitioning.floors(theirs[low:high])
        hashed = compared.begin(high - low)
        none = np.zeros(high - low, np.bool_)
        zeros = none.copy()
        zero_columns = []
        for column in compared.columns:
            values = rows.values(partition, column, first + low, first + high)
            compared.add(hashed, 0, column, values, floors)
            fixed = not is_variable(column.type_code)
            lost = _in_zero_sector(rows, partition, column, (first + low, first + high)) if fixed else none
            zeros |= lost
            zero_columns += [column.index] if lost.any() else []
        mine = mine - low
        kept = Hashed(hashed.values[mine], hashed.sure[mine], hashed.keys[mine] if compared.keys else hashed.keys)
        stamped = theirs[low:high]
        found.append(_Found(stamped[mine], kept, stamped[mine[zeros[mine]]], partition.start, tuple(zero_columns)))
    return found


def _in_zero_sector(rows: TableRows, partition: Partition, column: TableColumn, span: tuple[int, int]) -> Mask:
    """Return which values of the rows of `span` are among so many zeros that a lost sector may be among them."""
    step = max(1, SECTOR // (storage_size(column.type_code) or 1))
    low, high = span[0] // step * step, min(-(-span[1] // step) * step, partition.rows)
    zero = rows.zeros(partition, column, low, high)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], zero, [False]]).astype(np.int8)))
    found = np.zeros(len(zero), np.bool_)
    for begin, end in edges.reshape(-1, 2).tolist():
        whole = -(-begin // step) * step  # where the first sector begins that the run may hold whole
        if end >= min(whole + step, len(zero)) and whole < end:
            found[begin:end] = True
    return found[span[0] - low : span[1] - low]
