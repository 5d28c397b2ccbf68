"""Events that cannot be decoded, and how many rows they have: what lies between the events around them says so.

Rows of a segment are contiguous: each data event begins where the one before it ends. So the events around a gap give
its rows exactly, and behind the last event that can be decoded the timestamps in the column file give the most.

    event      0: rows 0-9   1: rows 10-19   2: ???   3: rows 30-39   4: ???   (timestamps up to row 47)
    gaps                                     10 rows                  8 rows at most
"""

from dataclasses import dataclass

import numpy as np

from console.questdb.column_files import written_rows
from console.questdb.reading import DamageError
from console.questdb.segment import EventType, Segment
from console.table.inventory import Inventory, Mask, carries_rows


@dataclass(frozen=True, slots=True)
class Gap:
    """Events `first`..`stop` - 1 of the inventory, one after another in one segment, none of which can be decoded.

    `rows` is None where nothing tells; `sure` says that they are just so many, else they are the most. `statement`: one
    of them is no data, or may be none: what it would have changed nobody knows. `passable`: the server reads past them.
    """

    wal: int
    segment: int
    first: int
    stop: int
    rows: int | None
    sure: bool
    statement: bool
    passable: bool

    @property
    def place(self) -> str:
        """The segment, for a sentence."""
        return f"wal{self.wal}/{self.segment}"


def undecodable(inventory: Inventory) -> Mask:
    """Return which events cannot be decoded."""
    return np.asarray(inventory.events["type"] == EventType.UNREADABLE)


def gaps_of(inventory: Inventory) -> tuple[Gap, ...]:
    """Return all gaps, in the order of the events."""
    bad = undecodable(inventory)
    found: list[Gap] = []
    for wal, number, low, high in inventory.slices() if bad.any() else ():
        mine = bad[low:high]
        edges = np.flatnonzero(np.diff(np.concatenate(([0], mine.view(np.int8), [0])))) + low
        for first, stop in edges.reshape(-1, 2).tolist():
            found.append(_gap(inventory, wal, number, (low, high), (first, stop)))
    return tuple(found)


def uncounted_rows(segment: Segment) -> int | None:
    """Return the most rows of a segment of which neither header nor index tells a transaction, None if not known."""
    return _written(segment)


def _gap(inventory: Inventory, wal: int, number: int, span: tuple[int, int], run: tuple[int, int]) -> Gap:
    events, (first, stop) = inventory.events, run
    mine, before, after = events[first:stop], events[span[0] : first], events[stop : span[1]]
    before, after = before[carries_rows(before)], after[carries_rows(after)]
    start = int(before["end"][-1]) if len(before) else 0
    named, disputed = mine["end"] > mine["start"], bool(mine["disputed"].all())
    if named.all():
        known = int((mine["end"] - mine["start"]).sum())
        return Gap(wal, number, first, stop, known, sure=True, statement=False, passable=False)
    if len(after):
        rows: int | None = max(0, int(after["start"][0]) - start)
    else:
        written = _written(inventory.segments[wal, number])
        rows = None if written is None else max(0, written - start)
    alone = len(mine) == 1 and bool(len(after)) and bool(rows)
    other = bool((mine["start"] < 0).any()) or rows is None or rows < len(mine)
    elsewhere = bool((~carries_rows(events) & ~undecodable(inventory)).any())
    statement = not alone and not disputed and (other or elsewhere)
    return Gap(wal, number, first, stop, rows, sure=alone, statement=statement, passable=disputed)


def _written(segment: Segment) -> int | None:
    try:
        return written_rows(segment)
    except (DamageError, OSError):
        return None
