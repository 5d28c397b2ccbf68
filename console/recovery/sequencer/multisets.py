"""Which events have their rows in a table: rows as hashes, counted over all events together.

Within one WAL the applied events are a prefix, so an event needs its own rows and those of all before it. Example, one
row value `a` that the table has twice, in wal1 events 0 and 1, in wal2 event 0:

    events without a     wal1: a, a   wal2: -     both of wal1 are present
    too few for all      wal1: a, a   wal2: a     unknown: two of the three
    one is known absent  wal1: a, a   wal2: a, b  where no b is: wal2 has only its first event, still unknown
    too few for one      wal1: a, aa              event 1 is absent: it would make three; so event 0 is present
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from console.questdb.row_hashes import Hashes

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Rows of events (ascending by WAL, then in the order of the WAL) and how often the table has each.

    `event` is the position of each row's event in `wal`, ascending. `values` are hashes of all columns, `sure` of those
    that nothing but inserts wrote. `decides` tells which rows prove that an event is absent where they are missing,
    `free` which ones no event that could not be read may have brought; `absent` which events are known to be absent.
    """

    wal: Index
    event: Index
    values: Hashes
    sure: Hashes
    table_values: Hashes
    table_sure: Hashes
    applied_values: Hashes
    applied_sure: Hashes
    decides: Mask
    free: Mask
    absent: Mask


def settle(evidence: Evidence) -> tuple[Mask, Mask]:
    """Return which events are present and which are absent; both where the rows contradict the order within a WAL.

    Present: the table has all its rows, also if every other event that may be applied is. Absent: it lacks one of them,
    counting only what is surely applied.
    """
    count = len(evidence.wal)
    full = _Demand(evidence.wal, evidence.event, evidence.values, evidence.table_values, evidence.applied_values)
    same = evidence.sure is evidence.values
    sure = full if same else _Demand(
        evidence.wal, evidence.event, evidence.sure, evidence.table_sure, evidence.applied_sure
    )  # fmt: skip
    rows = np.bincount(evidence.event, minlength=count)
    present, absent = np.zeros(count, np.bool_), evidence.absent
    while True:
        within, out = up_to(evidence.wal, present), onward(evidence.wal, absent)
        if (within & out).any():
            return present, absent
        explained = full.explained(~out) & evidence.free
        missing = sure.missing(within) & evidence.decides
        now_present = (np.bincount(evidence.event, explained, count) == rows) & (rows > 0)
        now_absent = absent | (np.bincount(evidence.event, missing, count) > 0)
        if (now_present <= present).all() and (now_absent == absent).all():
            return present, absent
        present, absent = now_present | present, now_absent


class _Demand:
    """How many rows of each value the events need, as pairs of (value, event) with a count."""

    def __init__(self, wal: Index, event: Index, values: Hashes, table: Hashes, applied: Hashes) -> None:
        distinct, number = np.unique(values, return_inverse=True)
        order = np.lexsort((event, number))
        ranked_number, ranked_event = number[order], event[order]
        fresh = _changes(ranked_number) | _changes(ranked_event)
        first = np.flatnonzero(fresh)
        self._pair = np.empty(len(order), np.int64)
        self._pair[order] = np.cumsum(fresh) - 1
        self._number, self._event = ranked_number[first], ranked_event[first]
        self._count = np.diff(np.append(first, len(order)))
        fresh = _changes(self._number) | _changes(wal[self._event])
        self._group = np.cumsum(fresh) - 1
        running = np.cumsum(self._count)
        before = np.append(0, running)[np.flatnonzero(fresh)]
        self._up_to = running - before[self._group] if len(running) else running
        """Rows of the value in the events of the WAL up to this one."""
        self._there = counted(distinct, table)[self._number]
        self._known = counted(distinct, applied)[self._number]

    def missing(self, within: Mask) -> Mask:
        """Return which rows the table has not often enough for their event to be applied; `within` surely are."""
        return self._rows(self._there < self._known + self._of_others(within) + self._up_to)

    def explained(self, possible: Mask) -> Mask:
        """Return which rows the table has often enough even if every one of the `possible` events is applied."""
        return self._rows(self._there >= self._known + self._of_others(possible) + self._up_to)

    def _of_others(self, events: Mask) -> Index:
        """Return for each pair the rows of its value in those `events` that other WALs have."""
        mine = np.where(events[self._event], self._count, 0)
        by_value = np.bincount(self._number, mine)
        by_group = np.bincount(self._group, mine)
        found: Index = (by_value[self._number] - by_group[self._group]).astype(np.int64)
        return found

    def _rows(self, pairs: Mask) -> Mask:
        return np.asarray(pairs[self._pair])


def counted(values: NDArray[np.generic], among: NDArray[np.generic]) -> Index:
    if not len(among):
        return np.zeros(len(values), np.int64)
    distinct, counts = np.unique(among, return_counts=True)
    place = np.minimum(np.searchsorted(distinct, values), len(distinct) - 1)
    return np.where(distinct[place] == values, counts[place], 0)


def _changes(values: NDArray[np.generic]) -> Mask:
    fresh = np.ones(len(values), np.bool_)
    fresh[1:] = values[1:] != values[:-1]
    return fresh


def up_to(wal: Index, marked: Mask) -> Mask:
    return onward(wal[::-1], marked[::-1])[::-1]


def onward(wal: Index, marked: Mask) -> Mask:
    running = np.cumsum(marked)
    start = np.flatnonzero(_changes(wal))
    before = np.append(0, running)[start]
    return np.asarray(running > np.repeat(before, np.diff(np.append(start, len(wal)))))
