"""Records above the applied transaction that name a segment transaction out of its turn: again, or too early.

Compared are only records whose transaction is on disk: one that names nothing says nothing about those around it.
"""

from collections.abc import Iterator

import numpy as np

from console.diagnosis.model import Severity
from console.questdb.ranges import RangeCollector, Ranges
from console.table.inventory import Index, Inventory, Mask, any_order, segment_key
from console.table.log_scan import LogScan

_NONE = -1


def misplaced(scan: LogScan, inventory: Inventory, *, dedup: bool) -> Iterator[tuple[Severity, str, Ranges]]:
    """Yield (how bad, what it is, which transactions): each of the records that the header counts is in one at most.

    Measured on 9.1.0: of records that change places, within a segment or between WALs, every row is applied, once.
    """
    named = scan.named.at(scan.within)
    txns, events = named.number, named.event
    rows = inventory.events[events]
    wal, txn = rows["wal"].astype(np.int64), rows["txn"].astype(np.int64)
    segment = np.asarray(segment_key(wal, rows["segment"]))
    again = np.ones(len(events), np.bool_)
    again[np.unique(events, return_index=True)[1]] = False
    applied = ~again & _applied_before(scan, wal, segment, txn)
    early = ~again & ~applied & _earlier_than_the_one_before(wal, segment, txn)
    yield (
        Severity.DAMAGE,
        "a repeat of another one: the server stops there, or applies its rows twice",
        scan.repeated,
    )
    yield (
        Severity.DAMAGE,
        "of a transaction that is applied already: its rows come twice, unless its WAL was made anew",
        _runs(txns[applied]),
    )
    order = "out of order in its WAL: the server applies it in the order of the log"
    if not dedup and len(events) == scan.max_txn - scan.applied and any_order(inventory.events[events]):
        yield Severity.NOTE, f"{order}, which makes the same rows", _runs(txns[early])
    else:
        yield Severity.RISK, order, _runs(txns[early])


def _applied_before(scan: LogScan, wal: Index, segment: Index, txn: Index) -> Mask:
    """Return which records name a transaction at or before the last that is applied of their WAL."""
    wals = np.unique(wal)
    last = [scan.below.get(int(each), (_NONE, _NONE)) for each in wals.tolist()]
    place = np.searchsorted(wals, wal)
    last_segment = np.array([int(segment_key(w, s)) for w, (s, _) in zip(wals.tolist(), last, strict=True)], np.int64)
    last_txn = np.array([t for _, t in last], np.int64)
    known = np.array([t >= 0 for _, t in last], np.bool_)
    if not len(wals):
        return np.zeros(0, np.bool_)
    same = segment == last_segment[place]
    return np.asarray(known[place] & ((segment < last_segment[place]) | (same & (txn <= last_txn[place]))))


def _earlier_than_the_one_before(wal: Index, segment: Index, txn: Index) -> Mask:
    """Return which records name an earlier transaction than the record of the same WAL before them."""
    found = np.zeros(len(wal), np.bool_)
    order = np.argsort(wal, kind="stable")
    if len(order) < 2:
        return found
    wal, segment, txn = wal[order], segment[order], txn[order]
    back = (segment[1:] < segment[:-1]) | ((segment[1:] == segment[:-1]) & (txn[1:] < txn[:-1]))
    found[order[1:]] = (wal[1:] == wal[:-1]) & back
    return found


def _runs(txns: Index) -> Ranges:
    collector = RangeCollector()
    collector.add(txns)
    return collector.ranges()
