"""Rows that the disk may have lost prove nothing: an event counts as absent only by rows that are whole.

rows of the event    0 … 511   512 … 1023    1024 … 1599
its column px        whole     page of zeros  whole          compared are the 576 rows from 1024 on
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from console.questdb.segment_data import TornRows
from console.recovery.sequencer.applied_prefix import Look, Seen
from console.recovery.sequencer.disk import TableOnDisk
from console.recovery.sequencer.rows import RowComparison
from console.table.inventory import Index, Inventory
from console.table.memory import TableMemory
from console.table.torn import check_rows
from console.table.zero_columns import ZeroShares

Span = tuple[int, int]


def by_whole_rows(table: TableOnDisk, compare: RowComparison, zeros: ZeroShares, memory: TableMemory) -> Look:
    """Return `compare.look`, asked again without torn and suspect rows of the events that it does not find."""

    def look(events: Index, applied: Index, waiting: Index) -> NDArray[Any]:
        seen = np.asarray(compare.look(events, applied, waiting)).copy()
        absent = np.flatnonzero(seen == Seen.ABSENT)
        whole = check_rows(table.inventory, events[absent], zeros, memory) if len(absent) else None
        doubted = doubted_rows(table.inventory, whole.seen) if whole is not None else {}
        if not doubted:
            return seen
        trimmed = table.inventory.events.copy()
        again = []
        for at in absent.tolist():
            event = int(events[at])
            if event not in doubted:
                continue
            first, end = _largest(int(trimmed["start"][event]), int(trimmed["end"][event]), doubted[event])
            trimmed["start"][event], trimmed["end"][event] = first, end
            seen[at] = Seen.UNKNOWN
            if end > first:
                again.append(at)
        part = replace(table, inventory=replace(table.inventory, events=trimmed))
        if again:
            seen[again] = RowComparison(part).look(events[again], applied, waiting)
        return seen

    return look


def doubted_rows(inventory: Inventory, seen: Iterable[tuple[int, int, TornRows]]) -> dict[int, list[Span]]:
    """Return by place the events that have rows among those `seen` as torn or suspect (WAL, segment, rows)."""
    found: dict[int, list[Span]] = {}
    events = inventory.events
    for wal, number, rows in seen:
        first, end = rows.first_row, rows.first_row + rows.rows
        mine = (
            (events["wal"] == wal) & (events["segment"] == number) & (events["start"] < end) & (events["end"] > first)
        )
        for event in np.flatnonzero(mine).tolist():
            found.setdefault(event, []).append((first, end))
    return found


def _largest(start: int, end: int, out: list[Span]) -> Span:
    best, at = (start, start), start
    for first, stop in [*sorted(out), (end, end)]:
        if min(first, end) - at > best[1] - best[0]:
            best = (at, min(first, end))
        at = max(at, stop)
    return best
