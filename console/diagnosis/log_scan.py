"""One pass over a sequencer's log: what its records are, and which segment transactions on disk they name.

Kept are positions of what is wrong, the last reference to each WAL at the applied transaction and at the end, and the
records above the applied transaction: memory does not grow with what is applied, nor with what a wild header claims.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.log_check import LogCheck, LogChecker
from console.questdb.ranges import RangeCollector
from console.questdb.txn_log import (
    RECORD_V2,
    STRUCTURE_CHANGE,
    TxnLog,
    as_v2,
    valid_records,
)
from console.table.inventory import Index, Inventory, Mask, segment_key
from console.table.memory import TableMemory

_CHUNK: Final = 1 << 15
LOOK_AHEAD: Final = 200
"""Transactions whose events the server loads before it applies the first (cairo.wal.apply.look.ahead.txn.count)."""
MAX_PENDING: Final = 4_000_000
"""Valid records above the applied transaction that are kept."""


@dataclass(frozen=True, slots=True)
class LogScan:
    """What a log says. Transactions are 1-based ids.

    `check` covers the records up to the header's end or the applied transaction, whichever is later. `pending`
    (RECORD_V2) are the valid records above the applied transaction, at `pending_txn`; `pending_event` is the index of
    the segment transaction that each names, -1 where that is not on disk or it names none. A header that is too low
    leaves valid records behind its end: those that name transactions on disk are in it too (`pending_txn` > `max_txn`).
    `below` and `last` have the last reference to each WAL (segment, transaction), up to the applied transaction and up
    to the end. `below_missing` records up to the applied transaction are lost or zero: `below` does not tell all then.
    `proper` masks the pending ones that the header counts and that are a structure change, or the first to name a
    segment transaction that is on disk. `zeroed` are the runs (first, last) of records whose walId is 0.
    """

    max_txn: int
    applied: int
    whole_records: int
    check: LogCheck
    zeroed: tuple[tuple[int, int], ...]
    below_missing: int
    below: dict[int, tuple[int, int]]
    last: dict[int, tuple[int, int]]
    pending_txn: Index
    pending: NDArray[Any]
    pending_event: Index
    proper: Mask
    last_version: int | None

    @property
    def within(self) -> Mask:
        """Mask over the pending records: those that the header counts."""
        return np.asarray(self.pending_txn <= self.max_txn)

    @property
    def gone(self) -> Index:
        """The transactions above the applied one whose record names an event that is not on disk."""
        return self.pending_txn[(self.pending_event < 0) & (self.pending["wal_id"] >= 1)]

    @property
    def beyond(self) -> int:
        """How many records behind the header's end name a segment transaction on disk."""
        return int((~self.within).sum())

    @property
    def believed(self) -> int:
        """The last transaction: the header's, or a later one where records behind it are whole."""
        return int(self.pending_txn[-1]) if self.beyond else self.max_txn

    @property
    def reach(self) -> int:
        """The transaction that applying can get to at most: the last before the first that has no proper record.

        A record that names what is not there, or names it again, stops the server already when it looks ahead.
        """
        first = max(self.applied, 0) + 1
        numbers = self.pending_txn[self.proper]
        gaps = np.flatnonzero(numbers != np.arange(first, first + len(numbers)))
        end = first + (int(gaps[0]) if len(gaps) else len(numbers))
        seen_ahead = end in self.pending_txn[self.within] and end - first < LOOK_AHEAD
        return first - 1 if seen_ahead else end - 1

    @property
    def unnamed(self) -> int:
        """How many of the transactions above the applied one, that the header counts, nothing on disk belongs to.

        Their record is lost, or it names a segment transaction that is not there.
        """
        return max(0, self.max_txn - max(self.applied, 0)) - int(self.proper.sum())


def scan_log(
    log: TxnLog, applied: int | None, inventory: Inventory, memory: TableMemory | None = None
) -> LogScan | None:
    """Return what `log` says, None where its records cannot be located or read.

    Where it is not known what is `applied`, no record is taken for one that waits. Applied records that `memory` has
    seen are not read again; it learns the others.
    """
    if not log.readable or log.header is None:
        return None
    try:
        top = max(0, log.header.max_txn)
        return _scan(log, top, top if applied is None else applied, inventory, memory)
    except OSError:
        return None


def _scan(log: TxnLog, top: int, applied: int, inventory: Inventory, memory: TableMemory | None) -> LogScan:
    split = max(0, min(applied, log.whole_records))
    checker, start = memory.resume(log, split) if memory is not None else (LogChecker(), 1)
    checker.feed_from(log, start, split)
    if memory is not None:
        memory.keep(log, split, checker)
    below_check = checker.finish(split, log.missing_parts(1, applied))
    below = _references(below_check)
    numbers: list[Index] = []
    kept: list[NDArray[Any]] = []
    blank = RangeCollector()
    held = 0
    for at, records in log.chunks(_CHUNK, first=split + 1, last=log.whole_records):
        inside = max(0, min(len(records), top + 1 - at))
        if len(records) == _CHUNK and not records.view(np.uint8).any():
            # A start with a wild header grew the file by gigabytes of zeros: pass over them at the speed of reading.
            blank.add(np.arange(at, at + inside))
            continue
        if inside:
            checker.feed(at, records[:inside])
        good = np.flatnonzero(valid_records(records))
        good = good[at + good > applied]
        if len(good) and held < MAX_PENDING:
            numbers.append(at + good)
            kept.append(as_v2(records[good]))
            held += len(good)
    check = checker.finish(top, log.missing_parts(1, top))
    pending_txn = np.concatenate(numbers) if numbers else np.empty(0, np.int64)
    pending = np.concatenate(kept) if kept else np.empty(0, RECORD_V2)
    events = inventory.locate(
        pending["wal_id"].astype(np.int64),
        pending["segment_id"].astype(np.int64),
        pending["segment_txn"].astype(np.int64),
    )
    last = _references(check)
    keep = (pending_txn <= top) | _trailing(pending, events, pending_txn > top, last)
    return LogScan(
        max_txn=top,
        applied=applied,
        whole_records=log.whole_records,
        check=check,
        zeroed=_joined([*below_check.zeroed, *below_check.wal_zero], check, blank, split),
        below_missing=_lost(below_check),
        below=below,
        last=last,
        pending_txn=pending_txn[keep],
        pending=pending[keep],
        pending_event=events[keep],
        proper=_proper(pending_txn[keep] <= top, pending[keep], events[keep]),
        last_version=_last_version(log, top),
    )


def _joined(
    below: list[tuple[int, int]], check: LogCheck, blank: RangeCollector, above: int
) -> tuple[tuple[int, int], ...]:
    """Return the runs of records whose walId is 0, ascending, neighbours joined."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted([*below, *check.zeroed.after(above), *check.wal_zero.after(above), *blank.ranges()]):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def _trailing(pending: NDArray[Any], events: Index, past: Mask, last: dict[int, tuple[int, int]]) -> Mask:
    """Return which records behind the header's end are real: they name transactions on disk, and go on in their WAL.

    A structure change there is believed where a believed record follows it.
    """
    found = np.zeros(len(pending), np.bool_)
    reached = dict(last)
    believed_to = -1
    for index in np.flatnonzero(past & (events >= 0)).tolist():
        wal = int(pending["wal_id"][index])
        place = (int(pending["segment_id"][index]), int(pending["segment_txn"][index]))
        if place > reached.get(wal, (-1, -1)):
            reached[wal] = place
            found[index] = True
            believed_to = index
    changes = past & (pending["wal_id"] == STRUCTURE_CHANGE)
    changes[believed_to + 1 :] = False
    return np.asarray(found | changes)


def _proper(within: Mask, pending: NDArray[Any], events: Index) -> Mask:
    first = np.zeros(len(events), np.bool_)
    first[np.unique(events, return_index=True)[1]] = True
    return np.asarray(within & ((first & (events >= 0)) | (pending["wal_id"] < 0)))


def _lost(check: LogCheck) -> int:
    """Return how many of the transactions of `check` have no valid record."""
    absent = sum(high - low + 1 for low, high in check.missing)
    return check.zeroed.count + check.wal_zero.count + check.invalid.count + absent


def _references(check: LogCheck) -> dict[int, tuple[int, int]]:
    """Return (segment, segment transaction) of the last reference to each WAL."""
    return {int(row["wal_id"]): (int(row["segment_id"]), int(row["segment_txn"])) for row in check.wals}


def _last_version(log: TxnLog, top: int) -> int | None:
    """Return the structure version of the last record that the header counts, whatever it is; None where not there."""
    records = log.records(top, top) if top else np.empty(0, RECORD_V2)
    return int(records["structure_version"][0]) if len(records) else None


def positions(inventory: Inventory, references: dict[int, tuple[int, int]]) -> Mask:
    """Return which transactions on disk lie at or before the given last reference of their WAL."""
    if not len(inventory):
        return np.zeros(0, np.bool_)
    events = inventory.events
    found = np.zeros(len(events), np.bool_)
    keys = segment_key(events["wal"], events["segment"])
    for wal in np.unique(events["wal"]).tolist():
        if wal not in references:
            continue
        segment, txn = references[wal]
        key = int(segment_key(wal, segment))
        found |= (events["wal"] == wal) & ((keys < key) | ((keys == key) & (events["txn"] <= txn)))
    return found
