"""Records at or below the applied transaction, where the log has none: what applied events on disk can still say.

The server never reads them for applying, so that their order is free; but a segment transaction that no record names
looks as if it had been forgotten, to walmedic as to the next person. Where nothing is known zeros stay: filler.
"""

import heapq
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.segment import EventType
from console.questdb.txn_log import RECORD_V2, STRUCTURE_CHANGE
from console.recovery.sequencer.disk import LogSource, TableOnDisk
from console.table.filler import FillerRule
from console.table.inventory import Index, Inventory, Mask, carries_rows
from console.table.names import Names

REACH: Final = 100_000
"""How far below the applied transaction records are made anew: it bounds what a plan carries along."""
CREATED: Final = 1_000_000
"""Commit time of made records (µs): one second after the epoch; zero would look like a record never written."""


def records_below(
    table: TableOnDisk, names: Names, applied_events: Mask, base: LogSource | None, filler: FillerRule, *, last: bool
) -> NDArray[Any]:
    """Return the records that end at the applied transaction and differ from those that are copied from `base`.

    `last`: the log ends with them, so that the last one must carry the structure version.
    """
    applied = table.applied
    first = max(1, applied - REACH + 1)
    real = _believed(base, first, applied)
    holes = first + np.flatnonzero(~real)
    mark = filler.at if filler.at is not None and filler.at >= first and filler.wal is not None else None
    placed = _placed(table.inventory, names, applied_events, holes[holes != mark] if mark is not None else holes)
    closing = bool(last and applied and not real[-1] and table.structure)
    lowest = min([*placed, *([mark] if mark is not None else []), *([applied] if closing else [])], default=applied + 1)
    records = np.zeros(applied + 1 - lowest, RECORD_V2)
    if not len(records):
        return records
    if base is not None:
        own = base.log.records(lowest, applied)
        records[: len(own)] = own
        records[~real[lowest - first :]] = np.zeros(1, RECORD_V2)
    at = np.array(list(placed), np.int64)
    records[at - lowest] = _of_events(table.inventory, names, np.array(list(placed.values()), np.int64))
    if mark is not None:
        records[mark - lowest : mark - lowest + 1] = _record(int(filler.wal or 0), 0, 0)
    if closing and records[-1]["wal_id"] == 0:
        records[-1:] = _record(STRUCTURE_CHANGE, -1, -1)
    if closing:
        records["structure_version"][-1] = table.structure
    return records


def _believed(base: LogSource | None, first: int, applied: int) -> Mask:
    """Return which of the transactions `first`..`applied` have a record that is copied."""
    if base is None or base.scan is None:
        return np.zeros(max(0, applied + 1 - first), np.bool_)
    return base.scan.recorded.mask(first, applied)


def _placed(inventory: Inventory, names: Names, applied_events: Mask, holes: Index) -> dict[int, int]:
    """Return which applied event (value) gets which hole (key): named ones their own, the others the highest free.

    Each WAL's own order is kept, also against its events that have a name.
    """
    own = np.flatnonzero(applied_events & np.isin(names.seq, holes) & (names.seq > 0))
    placed = dict(zip(names.seq[own].tolist(), own.tolist(), strict=True))
    queues = _queues(inventory, names, applied_events)
    waiting: list[tuple[int, int, int]] = []  # latest first: the last event of each WAL that has no place yet
    for number, queue in enumerate(queues):
        _push(waiting, inventory, number, queue)
    for at in holes[::-1].tolist():
        if not waiting:
            break
        if at in placed:
            continue
        passed = []
        while waiting:
            item = heapq.heappop(waiting)
            queue = queues[item[2]]
            event, low, high = queue[-1]
            if low < at < high:
                queue.pop()
                placed[at] = event
                _push(waiting, inventory, item[2], queue)
                break
            if at >= high:
                passed.append(item)  # its place lies further down
            else:
                queue.pop()  # no place was left for it; one before it may still have one
                _push(waiting, inventory, item[2], queue)
        for item in passed:
            heapq.heappush(waiting, item)
    return placed


def _queues(inventory: Inventory, names: Names, applied_events: Mask) -> list[list[tuple[int, int, int]]]:
    """Return per WAL its applied events without a name, ascending, each with the names around it."""
    queues = []
    for _, first, stop in inventory.by_wal():
        seq = names.seq[first:stop]
        before = np.maximum.accumulate(np.concatenate(([0], seq)))[:-1]
        following = np.where(seq > 0, seq, np.iinfo(np.int64).max)
        after = np.minimum.accumulate(np.concatenate((following, [np.iinfo(np.int64).max]))[::-1])[::-1][1:]
        mine = np.flatnonzero(applied_events[first:stop] & (seq == 0))[-REACH:]
        if len(mine):
            queues.append(list(zip((first + mine).tolist(), before[mine].tolist(), after[mine].tolist(), strict=True)))
    return queues


def _push(
    waiting: list[tuple[int, int, int]], inventory: Inventory, number: int, queue: list[tuple[int, int, int]]
) -> None:
    if queue:
        event = inventory.events[queue[-1][0]]
        time = int(event["max_ts"]) if event["type"] == EventType.DATA else 0
        heapq.heappush(waiting, (-int(event["structure"]), -time, number))


def _of_events(inventory: Inventory, names: Names, index: Index) -> NDArray[Any]:
    events = inventory.events[index]
    records = np.zeros(len(index), RECORD_V2)
    records["structure_version"] = events["structure"]
    for name, source in (("wal_id", "wal"), ("segment_id", "segment"), ("segment_txn", "txn")):
        records[name] = events[source]
    known_us = names.commit_us[index]
    records["commit_us"] = np.maximum(CREATED, np.where(known_us > 0, known_us, events["written_us"]))
    data = carries_rows(events)
    records["min_ts"] = np.where(data, events["min_ts"], np.iinfo(np.int64).max)
    records["max_ts"] = np.where(data, events["max_ts"], -1)
    records["row_count"] = np.where(data, events["end"] - events["start"], 0)
    return records


def _record(wal: int, segment: int, txn: int) -> NDArray[Any]:
    record = np.zeros(1, RECORD_V2)
    record["commit_us"] = CREATED
    record["wal_id"], record["segment_id"], record["segment_txn"] = wal, segment, txn
    return record
