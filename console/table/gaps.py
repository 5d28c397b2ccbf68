"""Events that cannot be decoded, and how many rows they have: what lies between the events around them says so.

Rows of a segment are contiguous: each data event begins where the one before it ends. So the events around a gap give
its rows exactly, and behind the last event that can be decoded the timestamps in the column file give the most.

    event      0: rows 0-9   1: rows 10-19   2: ???   3: rows 30-39   4: ???   (timestamps up to row 47)
    gaps                                     10 rows                  8 rows at most
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.column_files import written_rows
from console.questdb.reading import DamageError
from console.questdb.segment import EventType, Segment
from console.table.inventory import Index, Inventory, Mask, carries_rows

_LEAST_DATA: Final = 50
_LEAST_STATEMENT: Final = 77


@dataclass(frozen=True, slots=True)
class Gap:
    """Events `first`..`stop` - 1 of the inventory, one after another in one segment, none of which can be decoded.

    `rows` is None where nothing tells; `sure` says that they are just so many, else they are the most. `statement`: one
    of them is no data, so far as is known: what it would have changed nobody knows. `mixed`: nothing proves that all
    are data, so that a statement among them may change any other row. `passable`: the server reads past them.
    """

    wal: int
    segment: int
    first: int
    stop: int
    rows: int | None
    sure: bool
    statement: bool
    passable: bool
    mixed: bool = False

    @property
    def place(self) -> str:
        return f"wal{self.wal}/{self.segment}"


def most_rows(gap: Gap, others: int) -> int | None:
    """Return the most rows that are lost with `gap`, or have other values; `others` are those that a statement may find
    in the table. None where nothing bounds them."""
    if gap.rows is None or gap.statement:
        return None
    return gap.rows + (others if gap.mixed else 0)


def undecodable(inventory: Inventory) -> Mask:
    return np.asarray(inventory.events["type"] == EventType.UNREADABLE)


def gaps_of(inventory: Inventory) -> tuple[Gap, ...]:
    bad = undecodable(inventory)
    found: list[Gap] = []
    for wal, number, low, high in inventory.slices() if bad.any() else ():
        mine = bad[low:high]
        edges = np.flatnonzero(np.diff(np.concatenate(([0], mine.view(np.int8), [0])))) + low
        for first, stop in edges.reshape(-1, 2).tolist():
            found.append(_gap(inventory, wal, number, (low, high), (first, stop)))
    return tuple(found)


def rows_from(segment: Segment, first: int = 0) -> int | None:
    """Return the number behind the last row that a writer put into a segment, 0 if none is from `first` on.

    None if that is not known.
    """
    try:
        return written_rows(segment, first)
    except (DamageError, OSError):
        return None


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
        written = rows_from(inventory.segments[wal, number])
        rows = None if written is None else max(0, written - start)
    sole = _unknown_between(events[slice(*span)], first - span[0]) == 1
    alone = sole and bool(len(after)) and bool(rows)
    data = alone or disputed
    proven = data or _too_short_for_a_statement(inventory.segments.get((wal, number)), mine["txn"])
    other = bool((mine["start"] < 0).any()) or rows is None or rows < len(mine)
    elsewhere = not proven and bool((~carries_rows(events) & ~undecodable(inventory)).any())
    statement = not data and (other or elsewhere)
    return Gap(wal, number, first, stop, rows, sure=alone, statement=statement, passable=disputed, mixed=not proven)


def _unknown_between(segment: NDArray[Any], first: int) -> int:
    """Return how many events of a segment share the rows of the undecodable one at `first`: between two data events."""
    rows = np.flatnonzero(carries_rows(segment))
    at = int(np.searchsorted(rows, first))
    low, high = int(rows[at - 1]) if at else 0, int(rows[at]) if at < len(rows) else len(segment)
    return int((segment["type"][low:high] == EventType.UNREADABLE).sum())


def _too_short_for_a_statement(segment: Segment | None, txns: Index) -> bool:
    """Return whether `_event.i` proves that the records of `txns` are of rows: too long for none, and for no statement.

    A statement has i32 kind, its text (i32 length, UTF-16), two i64 and two i32 behind the common part
    (WalEventWriter.appendSql), and no text is shorter than "UPDATE t SET a=1".
    """
    if segment is None or int(txns.max()) >= len(segment.stated):
        return False
    lengths = segment.stated[txns]
    return bool(((lengths >= _LEAST_DATA) & (lengths < _LEAST_STATEMENT)).all())
