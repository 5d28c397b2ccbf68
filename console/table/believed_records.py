"""One pass over a sequencer's log (live or a copy): which records can be believed, and what they name.

Works in chunks, so that a log of 409 MB costs the memory of one chunk; kept are the records above the table's applied
transaction, and of the others only what names an event on disk.
"""

import bisect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.reading import list_directory
from console.questdb.txn_log import (
    RECORD_V2,
    RECORD_V2_SIZE,
    STRUCTURE_CHANGE,
    TABLE_DROPPED,
    LogHeader,
    LogPart,
    LogState,
    TxnLog,
    as_v2,
    valid_records,
)
from console.table.copies import Worth
from console.table.inventory import Index, Inventory, Mask, any_order

MAX_PENDING: Final = 50_000_000
"""Records above the applied transaction that are looked at; a header that claims more is not believed."""
_MAX_STRUCTURE: Final = 1 << 31

Runs = tuple[tuple[int, int], ...]
"""Inclusive (first, last) ranges of transaction ids, ascending."""


@dataclass(frozen=True, slots=True)
class LogScan:
    """What a log says about transactions, judged against the segments on disk.

    `seq` has, per event of the inventory, the transaction that names it (0: none). `tail` are the believable records
    above the applied transaction, ascending by `tail_seq`, whatever the header says (see `beyond`); `tail_event` is
    the event each names, -1 for structure changes and for events that are not on disk. `filled` are the runs at or
    below the applied transaction whose records can be believed; `bad` the runs above it, up to the header's maxTxn,
    that are zero, invalid or not in the file. `named_below` counts the believable records up to applied,
    `structure_below` those of them that are structure changes. `beyond` counts tail records past the header.
    """

    max_txn: int
    seq: Index
    tail: NDArray[Any]
    tail_seq: Index
    tail_event: Index
    filled: Runs
    bad: Runs
    named_below: int
    structure_below: int
    beyond: int
    dropped: bool
    structure_version: int
    applied: int

    @property
    def lost(self) -> Mask:
        """Return which tail records name an event that is not on disk: purged, removed, or never written."""
        return np.asarray((self.tail_event < 0) & (self.tail["wal_id"] > 0))

    @property
    def covers_applied(self) -> bool:
        """Whether every transaction up to the applied one has a record that can be believed."""
        return self.named_below == self.applied


def believable(records: NDArray[Any]) -> Mask:
    """Return which records are valid and count structure changes as a table can have them (docs/formats.md)."""
    version = records["structure_version"]
    counted = (version >= 0) & (version < _MAX_STRUCTURE)
    return np.asarray(valid_records(records) & counted & ((records["wal_id"] != STRUCTURE_CHANGE) | (version > 0)))


def scan_log(log: TxnLog, inventory: Inventory, applied: int, *, dedup: bool) -> LogScan | None:
    """Return what `log` says, None where it has no header of a known version. Raises OSError.

    Where a table has `dedup` keys, records are believed in the order of their WALs alone.
    """
    if not log.readable or log.header is None:
        return None
    top = max(0, log.header.max_txn)
    last = min(log.whole_records, applied + MAX_PENDING)
    seq = np.zeros(len(inventory), np.int64)
    on_disk = np.array(inventory.wals, np.int64)
    kept: list[tuple[Index, NDArray[Any]]] = []
    good_runs: list[tuple[int, int]] = []
    named = changes = 0
    version = 0
    for at, chunk in log.chunks(first=1, last=last):
        good = believable(chunk)
        below = max(0, min(len(chunk), applied - at + 1))
        if below:
            part, ok = chunk[:below], good[:below]
            named += int(ok.sum())
            changes += int((ok & (part["wal_id"] == STRUCTURE_CHANGE)).sum())
            _extend(good_runs, at, ok)
            mine = np.flatnonzero(ok & np.isin(part["wal_id"], on_disk))
            event = inventory.locate(part["wal_id"][mine], part["segment_id"][mine], part["segment_txn"][mine])
            seq[event[event >= 0]] = (at + mine)[event >= 0]
            if ok.any():
                version = max(version, int(part["structure_version"][ok].max()))
        if below < len(chunk):
            rest = np.flatnonzero(good[below:]) + below
            kept.append((at + rest, as_v2(chunk[rest])))
    numbers = np.concatenate([k[0] for k in kept]) if kept else np.empty(0, np.int64)
    records = np.concatenate([k[1] for k in kept]) if kept else np.empty(0, RECORD_V2)
    return _judge(inventory, applied, top, seq, numbers, records, tuple(good_runs), named, changes, version, dedup)


def _judge(
    inventory: Inventory,
    applied: int,
    top: int,
    seq: Index,
    numbers: Index,
    records: NDArray[Any],
    filled: Runs,
    named: int,
    changes: int,
    version: int,
    dedup: bool,
) -> LogScan:
    """Sort out the records above applied: those past the header must name an event that nothing else names."""
    events = inventory.locate(records["wal_id"], records["segment_id"], records["segment_txn"])
    keep = np.ones(len(records), np.bool_)
    keep &= (numbers <= top) | (events >= 0) | (records["wal_id"] == STRUCTURE_CHANGE)
    # A structure change past the header is believed only where data that is on disk follows it.
    past = np.flatnonzero(keep & (numbers > top))
    if len(past):
        followed = past[events[past] >= 0]
        keep[past[past > (followed[-1] if len(followed) else -1)]] = False
    free = not dedup and _any_order(inventory, applied, top, numbers, events, seq)
    keep &= _in_order(inventory, seq, records, events, free=free)
    numbers, records, events = numbers[keep], records[keep], events[keep]
    keep = ~_repeated(seq, events)  # of what is left: a record that is not believed repeats nothing
    numbers, records, events = numbers[keep], records[keep], events[keep]
    named_events = events >= 0
    seq[events[named_events]] = numbers[named_events]
    within = numbers[numbers <= top]
    steps = records["structure_version"]
    return LogScan(
        max_txn=top,
        seq=seq,
        tail=records,
        tail_seq=numbers,
        tail_event=events,
        filled=filled,
        bad=_gaps(within, applied + 1, top),
        named_below=named,
        structure_below=changes,
        beyond=int((numbers > top).sum()),
        dropped=bool((records["wal_id"] == TABLE_DROPPED).any()),
        structure_version=max(version, int(steps.max()) if len(steps) else 0),
        applied=applied,
    )


def _any_order(inventory: Inventory, applied: int, top: int, numbers: Index, events: Index, seq: Index) -> bool:
    """Return whether each transaction that waits is named once, may stand anywhere, and nothing else is on disk."""
    if not np.array_equal(numbers, np.arange(applied + 1, top + 1)) or (events < 0).any():
        return False
    named = np.concatenate((np.flatnonzero(seq > 0), events))
    return len(np.unique(named)) == len(inventory) == len(named) and any_order(inventory.events[events])


def _in_order(inventory: Inventory, seq: Index, records: NDArray[Any], events: Index, *, free: bool) -> Mask:
    """Return what keeps to the order of their WAL: addresses rise with the transaction (rule 6 of docs/formats.md).

    Where they do not, and that is not `free`, the longest rising run is believed and what contradicts it is not.
    """
    keep = np.ones(len(records), np.bool_)
    for wal in np.unique(records["wal_id"][records["wal_id"] > 0]):
        mine = np.flatnonzero(records["wal_id"] == wal)
        address = records["segment_id"][mine].astype(np.int64) << 31 | records["segment_txn"][mine]
        below = np.flatnonzero((inventory.events["wal"] == wal) & (seq > 0))
        floor = -1
        if len(below):
            last = inventory.events[below[-1]]
            floor = int(last["segment"]) << 31 | int(last["txn"])
        above = address > floor
        keep[mine[~above]] = False
        mine, address = mine[above], address[above]
        if not free and len(address) > 1 and (np.diff(address) <= 0).any():
            rising = np.zeros(len(mine), np.bool_)
            rising[_longest_rising(address)] = True
            keep[mine[~rising]] = False
    return keep


def _longest_rising(values: Index) -> Index:
    """Return the indices of a longest strictly rising subsequence."""
    tops: list[int] = []
    ends: list[int] = []
    before = np.full(len(values), -1, np.int64)
    for index, value in enumerate(values.tolist()):
        place = bisect.bisect_left(tops, value)
        if place:
            before[index] = ends[place - 1]
        if place == len(tops):
            tops.append(value)
            ends.append(index)
        else:
            tops[place], ends[place] = value, index
    chain = []
    at = ends[-1] if ends else -1
    while at >= 0:
        chain.append(at)
        at = int(before[at])
    return np.array(chain[::-1], np.int64)


def _repeated(seq: Index, events: Index) -> Mask:
    """Return which records name an event that a record at or below applied, or an earlier one here, named already."""
    found = np.zeros(len(events), np.bool_)
    on_disk = np.flatnonzero(events >= 0)
    found[on_disk] = seq[events[on_disk]] > 0
    _, first = np.unique(events[on_disk], return_index=True)
    later = np.ones(len(on_disk), np.bool_)
    later[first] = False
    found[on_disk[later]] = True
    return found


def _extend(runs: list[tuple[int, int]], at: int, good: Mask) -> None:
    """Add the runs of `good` (beginning at transaction `at`) to `runs`, joining neighbours."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], good.view(np.int8), [0]))))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        first, last = at + start, at + stop - 1
        if runs and runs[-1][1] == first - 1:
            runs[-1] = (runs[-1][0], last)
        else:
            runs.append((first, last))


def _gaps(present: Index, first: int, last: int) -> Runs:
    """Return the runs within `first`..`last` that are not in `present` (ascending)."""
    if last < first:
        return ()
    edges = np.concatenate(([first - 1], present, [last + 1]))
    wide = np.flatnonzero(np.diff(edges) > 1)
    return tuple((int(edges[i]) + 1, int(edges[i + 1]) - 1) for i in wide.tolist())


def with_parts(log: TxnLog, path: Path) -> TxnLog:
    """Return a log whose `_txnlog` is lost but whose V2 parts are there as one with a header that names them all.

    A part is preallocated, so that its length tells the records per part; zeros behind the last are not believed.
    """
    damaged = not log.readable or (log.header is not None and log.header.all_zero)
    if not damaged or not (path / "_txn_parts").is_dir():
        return log
    entries, _ = list_directory(path / "_txn_parts")
    parts = tuple(
        sorted(
            (LogPart(int(e.name), e.path, e.path.lstat().st_size) for e in entries if e.is_file and e.name.isdecimal()),
            key=lambda part: part.index,
        )
    )
    size = max((part.size for part in parts), default=0)
    if not size or size % RECORD_V2_SIZE or any(part.size != size for part in parts):
        return log
    header = LogHeader(1, 0, 0, size // RECORD_V2_SIZE, True, False)
    return TxnLog(log.path, LogState.PRESENT, header, log.file_size, log.stamp, parts, log.problems)


def worth_of(name: str, scan: LogScan, inventory: Inventory) -> Worth | None:
    """Return what the copy of that name is worth as the base of a restore, None if it ends below what is applied."""
    if max([scan.max_txn, *scan.tail_seq[-1:].tolist()]) < scan.applied:
        return None
    return Worth(
        name=name,
        max_txn=scan.max_txn,
        useful=scan.applied + len(inventory),
        named=len(scan.tail_seq) - int(scan.lost.sum()),
        missing=sum(last - first + 1 for first, last in scan.bad),
        last=max([scan.named_below, *scan.tail_seq[-1:].tolist()]),
        below=scan.named_below,
    )
