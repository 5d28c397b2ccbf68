"""Segment transactions whose column files do not hold the rows that they say, as after a power loss.

The server applies them without complaint (measured: rows of 1970, prices of zero). Pages of zeros alone are only
suspected: zero is a value too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.segment import Segment
from console.questdb.segment_data import LIMIT, Tear, TornRows, check_segment_data
from console.table.inventory import Index, Inventory, Mask, carries_rows, segment_key
from console.table.memory import TableMemory
from console.table.zero_columns import ZeroShares

_STOPPING: Final = (Tear.UNREADABLE, Tear.SHORT)


@dataclass(frozen=True, slots=True)
class Wholeness:
    """Which events are torn (mask over the inventory's), and what was seen, suspects included.

    `unread` are the segments without a `_meta` that can be read: their columns are not known, and none counts whole.
    """

    torn: Mask
    seen: tuple[tuple[int, int, TornRows], ...]
    unread: tuple[tuple[int, int], ...] = ()

    @property
    def stops(self) -> bool:
        """Whether the server cannot apply it at all: a column's file is missing, or ends before the rows do."""
        return any(rows.tear in _STOPPING for _, _, rows in self.seen)

    def suspects(self, inventory: Inventory, among: Mask | None = None) -> list[tuple[int, int, TornRows]]:
        """Return what is only suspected, of events that are not torn anyway; `among`: with rows of these events."""
        found = [each for each in self.seen if each[2].suspect and not self.torn[_place(inventory, *each)]]
        return found if among is None else [each for each in found if _touches(inventory.events[among], *each)]

    def suspect_rows(self, inventory: Inventory, among: Mask | None = None) -> int:
        spans: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for wal, number, rows in self.suspects(inventory, among):
            spans.setdefault((wal, number), []).append((rows.first_row, rows.first_row + rows.rows))
        return sum(_covered(each) for each in spans.values())


def check_rows(
    inventory: Inventory, events: Index, zeros: ZeroShares | None = None, memory: TableMemory | None = None
) -> Wholeness:
    """Read the columns of `events` and return what is not whole. Never raises: what cannot be read holds nothing.

    `zeros` tells which columns of the table are seldom zero. Events that `memory` has found whole are not read again;
    of those whose columns are not known none is whole.
    """
    torn = np.zeros(len(inventory), np.bool_)
    seen: list[tuple[int, int, TornRows]] = []
    unread: list[tuple[int, int]] = []
    rows = inventory.events[events]
    for segment, places in _by_segment(inventory, events[carries_rows(rows) & (rows["end"] > rows["start"])]):
        if segment.metadata is None:
            torn[places] = True
            unread.append((segment.wal_id, segment.segment_id))
            continue
        txns: list[int] = inventory.events["txn"][places].tolist()
        if memory is not None:
            txns = memory.unchecked(segment, txns)
        found = check_events(segment, txns)
        bad = [each.event for each in found if not each.suspect]
        torn[places[np.isin(inventory.events["txn"][places], bad)]] = True
        wal, number = inventory.events[["wal", "segment"]][places[0]].tolist()
        found += zeros.suspects(segment, _span(inventory, places)) if zeros is not None and txns else ()
        seen += [(wal, number, each) for each in found]
        if memory is not None:
            memory.keep_rows(segment, sorted(set(txns) - {each.event for each in found}))
    return Wholeness(torn, tuple(seen), tuple(unread))


def check_events(segment: Segment, txns: list[int]) -> list[TornRows]:
    """Return all that is torn in the rows of `txns`: one look tells a limited number, then each half is looked at."""
    found = list(check_segment_data(segment, txns)) if txns else []
    if len(found) < LIMIT or len(txns) == 1:
        return found
    middle = len(txns) // 2
    return check_events(segment, txns[:middle]) + check_events(segment, txns[middle:])


def _span(inventory: Inventory, places: Index) -> tuple[int, int, int]:
    rows = inventory.events[places]
    return int(rows["start"].min()), int(rows["end"].max()), int(rows["txn"][0])


def _by_segment(inventory: Inventory, events: Index) -> Iterator[tuple[Segment, Index]]:
    rows = inventory.events[events]
    keys = np.asarray(segment_key(rows["wal"], rows["segment"]))
    for key in np.unique(keys).tolist():
        mine = events[keys == key]
        wal, number = inventory.events[["wal", "segment"]][mine[0]].tolist()
        yield inventory.segments[wal, number], mine


def _touches(events: NDArray[Any], wal: int, number: int, rows: TornRows) -> bool:
    mine = (events["wal"] == wal) & (events["segment"] == number)
    return bool((mine & (events["start"] < rows.first_row + rows.rows) & (events["end"] > rows.first_row)).any())


def _place(inventory: Inventory, wal: int, number: int, rows: TornRows) -> int:
    first = np.searchsorted(inventory.keys, int(segment_key(wal, number)))
    return int(inventory.first[first]) + rows.event


def _covered(spans: list[tuple[int, int]]) -> int:
    """Return how many rows lie in at least one of `spans`."""
    total, at = 0, 0
    for first, end in sorted(spans):
        total += max(0, end - max(at, first))
        at = max(at, end)
    return total
