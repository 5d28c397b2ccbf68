"""Records at or below the applied transaction, where the log has none: what applied events on disk can still say.

The server never reads them for applying, so that their order is free; but a segment transaction that no record names
looks as if it had been forgotten, to walmedic as to the next person. Where nothing is known zeros stay: filler.
"""

import heapq
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.txn_log import RECORD_V2, STRUCTURE_CHANGE
from console.recovery.sequencer.disk import LogSource, TableOnDisk
from console.recovery.sequencer.inventory import DATA, Inventory, Mask, is_data
from console.recovery.sequencer.names import Names
from console.recovery.sequencer.views import FillerRule

REACH: Final = 200_000
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
    places = [at for at in range(applied, first - 1, -1) if not real[at - first]]
    made = _named(table.inventory, names, applied_events, places, filler.at)
    if filler.at is not None and filler.at >= first and filler.wal is not None:
        made[filler.at] = _record(filler.wal, 0, 0, table.structure)
    if last and applied and not real[-1]:
        if applied in made:
            made[applied]["structure_version"] = table.structure
        elif table.structure:
            made[applied] = _record(STRUCTURE_CHANGE, -1, -1, table.structure)
    if not made:
        return np.empty(0, RECORD_V2)
    lowest = min(made)
    records = np.zeros(applied + 1 - lowest, RECORD_V2)
    if base is not None:
        own = base.log.records(lowest, applied)
        records[: len(own)] = own
        records[~real[lowest - first :]] = np.zeros(1, RECORD_V2)
    for at, record in made.items():
        records[at - lowest] = record[0]
    return records


def _believed(base: LogSource | None, first: int, applied: int) -> Mask:
    """Return which of the transactions `first`..`applied` have a record that is copied."""
    real = np.zeros(max(0, applied + 1 - first), np.bool_)
    if base is not None and base.scan is not None:
        for low, high in base.scan.filled:
            real[max(0, low - first) : max(0, high + 1 - first)] = True
    return real


def _named(
    inventory: Inventory, names: Names, applied_events: Mask, places: list[int], taken: int | None
) -> dict[int, NDArray[Any]]:
    """Return records for applied events, by transaction: named ones in their own place, the others in what is left.

    `places` descend. Each WAL's own order is kept, also against its events that have a name.
    """
    made: dict[int, NDArray[Any]] = {}
    free = set(places)
    for event in np.flatnonzero(applied_events & (names.seq > 0)).tolist():
        at = int(names.seq[event])
        if at in free and at != taken:
            made[at] = _of_event(inventory, names, event)
            free.discard(at)
    queues = _queues(inventory, names, applied_events)
    waiting: list[tuple[int, int, int]] = []  # latest first: the last event of each WAL that has no place yet
    for number, queue in enumerate(queues):
        _push(waiting, inventory, number, queue)
    for at in places:
        if at not in free or at == taken or not waiting:
            continue
        passed = []
        while waiting:
            item = heapq.heappop(waiting)
            queue = queues[item[2]]
            event, low, high = queue[-1]
            if low < at < high:
                queue.pop()
                made[at] = _of_event(inventory, names, event)
                _push(waiting, inventory, item[2], queue)
                break
            if at >= high:
                passed.append(item)  # its place lies further down
            else:
                queue.pop()  # no place was left for it; one before it may still have one
                _push(waiting, inventory, item[2], queue)
        for item in passed:
            heapq.heappush(waiting, item)
    return made


def _queues(inventory: Inventory, names: Names, applied_events: Mask) -> list[list[tuple[int, int, int]]]:
    """Return per WAL its applied events without a name, ascending, each with the names around it."""
    queues = []
    for _, first, stop in inventory.slices():
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
        time = int(event["max_ts"]) if event["type"] == DATA else 0
        heapq.heappush(waiting, (-int(event["structure"]), -time, number))


def _of_event(inventory: Inventory, names: Names, index: int) -> NDArray[Any]:
    event = inventory.events[index]
    record = _record(int(event["wal"]), int(event["segment"]), int(event["txn"]), int(event["structure"]))
    record["commit_us"] = max(CREATED, int(names.commit_us[index]) or int(event["written_us"]))
    data = bool(is_data(inventory.events[index : index + 1])[0])
    record["min_ts"] = event["min_ts"] if data else np.iinfo(np.int64).max
    record["max_ts"] = event["max_ts"] if data else -1
    record["row_count"] = event["end"] - event["start"] if data else 0
    return record


def _record(wal: int, segment: int, txn: int, version: int) -> NDArray[Any]:
    record = np.zeros(1, RECORD_V2)
    record["structure_version"], record["commit_us"] = version, CREATED
    record["wal_id"], record["segment_id"], record["segment_txn"] = wal, segment, txn
    return record
