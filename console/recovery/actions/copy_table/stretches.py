"""What of a table is copied with one statement: a partition, or where it is large a stretch of it.

A stretch is small enough that the server takes it in one transaction and well within its time limit for a query: after
a kill it is there whole or not at all. It ends between two different timestamps.
"""

from dataclasses import dataclass

import numpy as np

from console.questdb.partition_rows import Partition, TableRows

ROWS = 500_000
"""Rows of a stretch, about; the server commits an INSERT … SELECT by itself only from 1,000,000 rows on."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows with `low` <= timestamp < `high`, in the unit of the designated timestamp; `partition` is for showing."""

    partition: str
    low: int
    high: int
    rows: int


def stretches(table: TableRows, rows: int = ROWS) -> list[Stretch]:
    """Return all stretches of a table, oldest first. Raises DamageError, OSError where a timestamp cannot be read."""
    found = []
    for partition in table.partitions:
        name = table.partitioning.name(partition.start)
        last = _at(table, partition, partition.rows - 1) + 1
        if partition.parquet:
            found.append(Stretch(name, partition.start, last, partition.rows))
            continue
        low, first = min(partition.start, _at(table, partition, 0)), 0
        while first < partition.rows:
            end = _boundary(table, partition, min(first + rows, partition.rows), first)
            high = last if end == partition.rows else _at(table, partition, end)
            found.append(Stretch(name, low, high, end - first))
            low, first = high, end
    return found


def _boundary(table: TableRows, partition: Partition, end: int, first: int) -> int:
    """Return the row nearest before `end` (else behind it) whose timestamp differs from the one before it."""
    if end == partition.rows:
        return end
    stamp = _at(table, partition, end)
    before = table.timestamps(partition, first, end)
    at = first + int(np.searchsorted(before, stamp, "left"))
    if at > first:
        return at
    for start in range(end, partition.rows, ROWS):  # one timestamp on more rows than a stretch has
        block = table.timestamps(partition, start, min(start + ROWS, partition.rows))
        other = np.flatnonzero(block != stamp)
        if len(other):
            return start + int(other[0])
    return partition.rows


def _at(table: TableRows, partition: Partition, row: int) -> int:
    if partition.parquet:
        # its rows are in a file that is not read here: the partition's end comes from the next one, or by `_txn`
        later = [each.start for each in table.partitions if each.start > partition.start]
        return (min(later) if later else table.txn.max_ts + 1) - 1
    return int(table.timestamps(partition, row, row + 1)[0])
