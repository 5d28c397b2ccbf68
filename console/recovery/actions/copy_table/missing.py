"""Rows of a table that a copy of it does not have, and rows that only the copy has: as multisets, from both's files.

A copy that was made earlier may lack what its original has taken since, and have what a writer has sent to it. With
dedup keys a row is there where one with its keys is: the copy's own, later one stays.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from console.questdb.partition_rows import CHUNK, Partition, TableRows
from console.questdb.row_hashes import Hashes, row_hashes
from console.questdb.table_metadata import TableColumn
from console.recovery.actions.copy_table.equality import different_columns
from console.recovery.actions.copy_table.stretches import ROWS, Stretch, stretches

Mask = NDArray[np.bool_]
OnRows = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of the original of which the copy lacks the rows `first`..`first + missing - 1`, counted from 0."""

    stretch: Stretch
    first: int
    missing: int

    @property
    def whole(self) -> bool:
        return self.first == 0 and self.missing == self.stretch.rows


@dataclass(frozen=True, slots=True)
class Compared:
    """What was found: gaps oldest first, rows that the copy alone has, and rows whose values alone differ.

    `other_values` are rows of a table with dedup keys whose keys are in both, with other values.
    """

    gaps: tuple[Gap, ...]
    only_in_copy: int
    other_values: int

    @property
    def missing(self) -> int:
        return sum(gap.missing for gap in self.gaps)


def compared(original: TableRows, copy: TableRows, on_rows: OnRows | None = None) -> Compared:
    """Return what each has that the other lacks. Raises DamageError, OSError where a value cannot be read.

    Rows of a partition in Parquet are only counted, and are all missing where their number differs.
    """
    keys = [column.raw_name for column in original.columns if column.dedup_key]
    theirs = {partition.start: partition for partition in copy.partitions}
    whole: list[Stretch] | None = None
    gaps: list[Gap] = []
    only = other = 0
    for mine in original.partitions:
        name = original.partitioning.name(mine.start)
        beside = theirs.pop(mine.start, None)
        if beside is None:
            whole = stretches(original) if whole is None else whole
            gaps += [Gap(each, 0, each.rows) for each in whole if each.partition == name]
        elif mine.parquet or beside.parquet:
            only += max(0, beside.rows - mine.rows)
            if mine.rows > beside.rows:
                gaps.append(Gap(Stretch(name, mine.start, mine.start, mine.rows), 0, mine.rows - beside.rows))
        elif not _equal(original, mine, copy, beside):
            lacking, extra, differing = _differences(original, mine, copy, beside, keys)
            gaps += _gaps(original, mine, lacking, name)
            only, other = only + extra, other + differing
        if on_rows is not None:
            on_rows(name, mine.rows)
    only += sum(each.rows for each in theirs.values())
    return Compared(tuple(gaps), only, other)


def _equal(original: TableRows, mine: Partition, copy: TableRows, theirs: Partition) -> bool:
    return mine.rows == theirs.rows and not different_columns(original, mine, copy, theirs)


def _differences(
    original: TableRows, mine: Partition, copy: TableRows, theirs: Partition, keys: list[str]
) -> tuple[Mask, int, int]:
    """Return which rows the copy lacks, how many it alone has, and how many have their keys there with other values."""
    ours, others = _hashed(original, mine, original.columns), _hashed(copy, theirs, copy.columns)
    lacking = _not_among(ours, others)
    if not keys:
        return lacking, int(_not_among(others, ours).sum()), 0
    key_columns = [column for column in original.columns if column.raw_name in keys]
    same = [column for column in copy.columns if column.raw_name in keys]
    my_keys, their_keys = _hashed(original, mine, key_columns), _hashed(copy, theirs, same)
    known = ~_not_among(my_keys, their_keys)
    return lacking & ~known, int(_not_among(their_keys, my_keys).sum()), int((lacking & known).sum())


def _hashed(table: TableRows, partition: Partition, columns: tuple[TableColumn, ...] | list[TableColumn]) -> Hashes:
    parts = [
        row_hashes((table.values(partition, column, at, end) for column in columns), end - at)
        for at in range(0, partition.rows, CHUNK)
        if (end := min(at + CHUNK, partition.rows)) > at
    ]
    return np.concatenate(parts)


def _not_among(values: Hashes, among: Hashes) -> Mask:
    """Return which of `values` have no partner in `among`, each of which is a partner once."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    ordinal = np.arange(len(ranked)) - np.searchsorted(ranked, ranked, "left")
    there = np.sort(among)
    count = np.searchsorted(there, ranked, "right") - np.searchsorted(there, ranked, "left")
    found = np.zeros(len(values), np.bool_)
    found[order] = ordinal >= count
    return found


def _gaps(table: TableRows, partition: Partition, lacking: Mask, name: str) -> Iterator[Gap]:
    """Yield each run of rows that are lacking, as rows of the shortest stretch that holds them."""
    edges: Any = np.flatnonzero(np.diff(np.concatenate([[False], lacking, [False]]).astype(np.int8)))
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        for first in range(begin, end, ROWS):
            last = min(first + ROWS, end) - 1
            low, high = (int(table.timestamps(partition, at, at + 1)[0]) for at in (first, last))
            start = _row_of(table, partition, low, "left", first)
            stop = _row_of(table, partition, high, "right", last)
            yield Gap(Stretch(name, low, high + 1, stop - start), first - start, last + 1 - first)


def _row_of(table: TableRows, partition: Partition, stamp: int, side: str, at: int) -> int:
    """Return the first row of that timestamp (`left`), or the first behind it (`right`); row `at` has it."""
    step = 1
    if side == "left":
        while at > 0:
            block = table.timestamps(partition, max(0, at - step), at)
            equal = block == stamp
            if not equal.all():
                return at - len(block) + int(np.flatnonzero(~equal)[-1]) + 1
            at, step = at - len(block), min(step * 4, CHUNK)
        return 0
    while at < partition.rows:
        block = table.timestamps(partition, at, min(partition.rows, at + step))
        equal = block == stamp
        if not equal.all():
            return at + int(np.flatnonzero(~equal)[0])
        at, step = at + len(block), min(step * 4, CHUNK)
    return partition.rows
