"""Segments of one table that hold the same transactions: one of them is a copy, and applying both doubles rows.

Only a segment that repeats another one from the first transaction on, record by record of `_event` and column by
column, is a twin: a sender that repeats its last batch writes it into a new segment, and not the first ones.

    wal1/0  A B C D      wal1/1  A B C D     twins
    wal1/0  A B C D      wal2/0  D           D was sent twice
"""

from typing import Final

import numpy as np

from console.questdb.column_files import column_path
from console.questdb.column_types import storage_size
from console.questdb.reading import DamageError, DbFile
from console.questdb.segment import Segment
from console.questdb.variable_columns import aux_shape
from console.table.inventory import Inventory

_LEAST: Final = 2
"""Transactions that both hold: one alone may have been sent twice."""
_CHUNK: Final = 1 << 18
_COMPARED: Final = ["txn", "type", "start_row", "end_row", "min_ts", "max_ts"]
_TIMESTAMP_ROW: Final = 16

Address = tuple[int, int]


def twins(inventory: Inventory) -> tuple[tuple[Address, Address, int], ...]:
    """Return (address, address of its twin, how many transactions both hold) of each segment that repeats another."""
    first: dict[bytes, list[Address]] = {}
    found: list[tuple[Address, Address, int]] = []
    for address, segment in inventory.segments.items():
        events = segment.events
        if len(events) < _LEAST or not segment.data[:_LEAST].any():
            continue
        alike = first.setdefault(events[_COMPARED][:_LEAST].tobytes(), [])
        for other in alike:
            both = _both(segment, inventory.segments[other])
            if both >= _LEAST:
                found.append((address, other, both))
                break
        alike.append(address)
    return tuple(found)


def _both(one: Segment, other: Segment) -> int:
    """Return how many transactions two segments begin with that are the same in events and columns."""
    count = min(len(one.events), len(other.events))
    differs = np.flatnonzero(one.events[_COMPARED][:count] != other.events[_COMPARED][:count])
    count = int(differs[0]) if len(differs) else count
    count = _events_equal(one, other, count)
    mine = one.events[:count][one.data[:count]]
    rows = int(mine["end_row"].max()) if len(mine) else 0
    try:
        return count if rows and _columns_equal(one, other, rows) else 0
    except (DamageError, OSError):
        return 0


def _events_equal(one: Segment, other: Segment, count: int) -> int:
    """Return how many of the first `count` records of `_event` are the same bytes, 0 if a file cannot be read.

    They hold the symbols that a transaction adds: two writers give the same key to different symbols.
    """
    mine, theirs = one.events[:count], other.events[:count]
    same = (mine["offset"] == theirs["offset"]) & (mine["length"] == theirs["length"])
    count = int(np.flatnonzero(~same)[0]) if not same.all() else count
    if not count:
        return 0
    ends = (mine["offset"] + mine["length"])[:count]
    at, end = int(mine["offset"][0]), int(ends[-1])
    try:
        with DbFile(one.path / "_event") as ours, DbFile(other.path / "_event") as copy:
            while at < end:
                size = min(_CHUNK, end - at)
                differs = np.flatnonzero(ours.array(at, "u1", size) != copy.array(at, "u1", size))
                if len(differs):
                    return int((ends <= at + int(differs[0])).sum())
                at += size
    except (DamageError, OSError):
        return 0
    return count


def _columns_equal(one: Segment, other: Segment, rows: int) -> bool:
    if one.metadata is None or other.metadata is None or one.metadata.columns != other.metadata.columns:
        return False
    for index, column in enumerate(one.metadata.columns):
        if column.dropped:
            continue
        size, suffix = storage_size(column.type_code), "d"
        if index == one.metadata.timestamp_index:
            size = _TIMESTAMP_ROW
        elif not size:
            size, suffix = aux_shape(column.tag)[0], "i"
        paths = [column_path(each.path, column.raw_name, suffix) for each in (one, other)]
        with DbFile(paths[0]) as mine, DbFile(paths[1]) as theirs:
            for at in range(0, size * rows, _CHUNK):
                count = min(_CHUNK, size * rows - at)
                if not np.array_equal(mine.array(at, "u1", count), theirs.array(at, "u1", count)):
                    return False
    return True
