"""What a WAL holds that no record of a log names: transactions, and rows behind the last transaction of a segment.

A commit writes the rows, then the event, then the record. So a kill can leave rows without an event, and one event
without a record for each writer: measured on 9.1.0, 3 of 45 kills under load left one. An older log leaves the same.
What a writer does after a commit tells them apart: it goes on only when the record is written.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from console.table.gaps import rows_from, undecodable
from console.table.inventory import Inventory, Mask, carries_rows
from console.table.log_scan import LogScan


@dataclass(frozen=True, slots=True)
class RowsBehind:
    """Rows behind the last event of a segment: not committed, or the end of `_event` is lost."""

    wal: int
    segment: int
    rows: int

    @property
    def place(self) -> str:
        return f"wal{self.wal}/{self.segment}"


def rows_behind(inventory: Inventory, applied: Mask) -> Iterator[RowsBehind]:
    """Yield what lies behind the last event of each segment, where none that is `applied` comes later in its WAL."""
    for wal, number, low, high in inventory.slices():
        later = (inventory.events["wal"] == wal) & (inventory.events["segment"] > number)
        if high == low or undecodable(inventory)[high - 1] or bool((later & applied).any()):
            continue  # its rows are counted elsewhere, or they are applied
        rows = _behind(inventory, wal, number, low, high)
        if rows:
            yield RowsBehind(wal, number, rows)


def names_all(scan: LogScan) -> bool:
    """Return whether the log in place tells of every transaction above the applied one: its header has its end."""
    last = scan.max_txn
    whole = last >= scan.applied and not scan.bad and (not scan.beyond or scan.change_cut_off)
    return whole and (not last or scan.recorded.count(last, last) == 1)


def covered(scans: Iterable[LogScan], applied: Mask) -> bool:
    """Return whether a log names every transaction above the `applied` ones, so that a WAL left out is in no doubt.

    A log that ends at the applied transaction, or before an event that is on disk, may be older than what waited in
    the WAL that was there.
    """
    return any(
        scan.max_txn > scan.applied and not scan.bad and bool((applied | (scan.seq > 0)).all()) for scan in scans
    )


def log_is_older(inventory: Inventory, unnamed: Mask, handed_out: int | None = None) -> bool:
    """Return whether the disk proves that an event of the `unnamed` ones had a record: its writer went on.

    It wrote another event, or rows behind it, or began a segment. False: a kill may have left them all, or a commit
    that QuestDB refused, whose writer then closes its files (seen on 9.3.4, beside a RENAME). A sequencer that has not
    `handed_out` the id of its WAL is older too: it writes the id before the directory is made.
    """
    if handed_out is not None and bool((inventory.events["wal"][unnamed] > handed_out).any()):
        return True
    for wal, first, stop in inventory.by_wal():
        mine = np.flatnonzero(unnamed[first:stop]) + first
        if not len(mine):
            continue
        last = int(mine[-1])
        number = int(inventory.events["segment"][last])
        if len(mine) > 1 or last != stop - 1 or any(w == wal and n > number for w, n in inventory.segments):
            return True
        low = int(np.searchsorted(inventory.events["segment"][first:stop], number)) + first
        if _behind(inventory, wal, number, low, stop):
            return True
    return False


def _behind(inventory: Inventory, wal: int, number: int, low: int, high: int) -> int:
    events = inventory.events[low:high]
    named = int(events["end"][carries_rows(events)].max(initial=0))
    segment = inventory.segments.get((wal, number))
    return max(0, (rows_from(segment, named) or 0) - named) if segment is not None else 0
