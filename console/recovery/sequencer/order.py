"""The order in which the sequencer has to name what is not applied yet.

Known transactions stand where they are; what has lost its record goes into the holes between them, then behind them.
Within a WAL the order is that of the segments, and a structure change stands before the first data written under it.
Where that leaves a choice between writers, it is free only if every event involved just adds rows.

    known       5: wal1/0 #3                      8: wal2/0 #0
    no record       a: wal1/0 #4                      b: wal2/0 #1
    order       5   a   (one place stays empty)   8   b
"""

import heapq
from dataclasses import dataclass
from typing import Final

import numpy as np

from console.questdb.segment import EventType
from console.recovery.codes import RefusalCode
from console.recovery.model import Refusal
from console.table.inventory import Index, Inventory, is_plain
from console.table.names import Names
from console.table.txn_set import TxnSet
from console.text import plural

CHANGE: Final = -1
"""In `Order.event`: a structure change, not an event."""
_NEVER: Final = 1 << 60
_OTHERS: Final = {
    EventType.SQL: "an SQL statement",
    EventType.TRUNCATE: "a TRUNCATE",
    EventType.MAT_VIEW_INVALIDATE: "an invalidation",
}


@dataclass(frozen=True, slots=True)
class Order:
    """The unapplied transactions in order: `event` (an index into the inventory, or CHANGE) and, parallel to it,
    `version`, the table's structure version once it is applied.

    `empty` counts places between known transactions that nothing on disk fills. `chosen` says that the order between
    writers was chosen where any order gives the same table. `refusals` say why there is no order.
    """

    event: Index
    version: Index
    empty: int
    chosen: bool
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What has to be ordered: events not applied and not left out, and the structure versions to be reached.

    `structure_applied` is the table's version; changes to `structure_applied` + 1 … `structure_target` are pending.
    `left_out` are transactions above applied that keep their places although nothing stands there: torn or lost.
    `shared_keys`: a table with dedup keys has rows of different writers that could replace one another. `key_changes`
    are pending versions that change these keys.
    """

    events: Index
    applied: int
    structure_applied: int
    structure_target: int
    left_out: TxnSet
    dedup: bool
    shared_keys: bool
    key_changes: tuple[int, ...] = ()


def arrange(inventory: Inventory, names: Names, wanted: Wanted) -> Order:
    """Return the order. Never raises; what cannot be ordered is a refusal."""
    events = wanted.events
    seq = names.seq[events]
    pending = np.arange(wanted.structure_applied + 1, wanted.structure_target + 1)
    change_seq = _change_seq(names, wanted, pending)
    fixed_event = np.concatenate([events[seq > 0], np.full(int((change_seq > 0).sum()), CHANGE, np.int64)])
    fixed_version = np.concatenate([np.zeros(int((seq > 0).sum()), np.int64), pending[change_seq > 0]])
    fixed_seq = np.concatenate([seq[seq > 0], change_seq[change_seq > 0]])
    by_seq = np.argsort(fixed_seq, kind="stable")
    fixed_event, fixed_version, fixed_seq = fixed_event[by_seq], fixed_version[by_seq], fixed_seq[by_seq]
    items = _loose(inventory, events[seq == 0], pending[change_seq == 0], fixed_event, fixed_version)
    taken = np.diff(wanted.left_out.below(np.concatenate(([wanted.applied], fixed_seq)) + 1))
    capacity = np.append(np.diff(np.concatenate(([wanted.applied], fixed_seq))) - 1 - taken, _NEVER)
    placed, empty, forced, problem = _place(items, capacity)
    if problem:
        return Order(events[:0], events[:0], 0, False, (problem,))
    empty += _empty_behind(wanted, fixed_seq, int((placed == len(fixed_seq)).sum()))
    chosen = not forced or _several_writers(items, placed)
    refusals = _check_choice(inventory, events, items, wanted) if chosen else []
    refusals += _check_statements(inventory, items)
    refusals += _check_key_changes(inventory, items, wanted)
    event, version = _merge(items, placed, fixed_event, fixed_version)
    reached = np.maximum.accumulate(np.concatenate(([wanted.structure_applied], version)))[1:]
    refusals += _check_versions(inventory, event, reached)
    return Order(event, reached, empty, chosen, tuple(refusals))


@dataclass(frozen=True, slots=True)
class _Items:
    """What has no record, sorted so that within a gap this order is good: parallel arrays.

    `event` (or CHANGE), `version` (of a change, else 0), `wal` (-1 for changes), `low`..`high` the gaps it may go to.
    """

    event: Index
    version: Index
    wal: Index
    low: Index
    high: Index


def _change_seq(names: Names, wanted: Wanted, pending: Index) -> Index:
    """Return the transaction of each pending structure change, 0 where no record names it."""
    found = np.zeros(len(pending), np.int64)
    for at, version in enumerate(pending.tolist()):
        match = np.flatnonzero((names.changes.version == version) & (names.changes.seq > wanted.applied))
        if len(match):
            found[at] = names.changes.seq[match[-1]]
    return found


def _loose(inventory: Inventory, events: Index, versions: Index, fixed_event: Index, fixed_version: Index) -> _Items:
    """Return the items without a record, with the gaps that order within the WAL and structure versions leave them."""
    rows = inventory.events
    gaps = len(fixed_event)
    low, high = np.zeros(len(events), np.int64), np.full(len(events), gaps, np.int64)
    known = np.flatnonzero(fixed_event >= 0)
    known_event = fixed_event[known]
    for wal in np.unique(rows["wal"][events]):
        mine = np.flatnonzero(rows["wal"][events] == wal)
        theirs = np.flatnonzero(rows["wal"][known_event] == wal)
        place = np.searchsorted(known_event[theirs], events[mine])  # both ascend: the order within a WAL
        position = known[theirs] if len(theirs) else known[:0]
        low[mine] = np.concatenate(([0], position + 1))[place]
        high[mine] = np.append(position, gaps)[place]
    change_at = np.flatnonzero(fixed_event == CHANGE)
    data = rows["type"][events] == EventType.DATA
    level = rows["structure"][events]
    for at in change_at.tolist():
        version = int(fixed_version[at])
        low[data & (level >= version)] = np.maximum(low[data & (level >= version)], at + 1)
        high[data & (level < version)] = np.minimum(high[data & (level < version)], at)
    change_low, change_high = np.zeros(len(versions), np.int64), np.full(len(versions), gaps, np.int64)
    fixed_data = known[rows["type"][known_event] == EventType.DATA]
    fixed_level = rows["structure"][fixed_event[fixed_data]]
    for index, version in enumerate(versions.tolist()):
        after = np.concatenate((fixed_data[fixed_level < version], change_at[fixed_version[change_at] < version]))
        before = np.concatenate((fixed_data[fixed_level >= version], change_at[fixed_version[change_at] > version]))
        change_low[index] = int(after.max()) + 1 if len(after) else 0
        change_high[index] = int(before.min()) if len(before) else gaps
    joined = _Items(
        np.concatenate((np.full(len(versions), CHANGE, np.int64), events)),
        np.concatenate((versions.astype(np.int64), np.zeros(len(events), np.int64))),
        np.concatenate((np.full(len(versions), -1, np.int64), rows["wal"][events].astype(np.int64))),
        np.concatenate((change_low, low)),
        np.concatenate((change_high, high)),
    )
    return _sorted(inventory, joined)


def _sorted(inventory: Inventory, items: _Items) -> _Items:
    """Sort by structure level (a change before the data under it), then by time, keeping each WAL's own order."""
    is_event = items.event >= 0
    rows = inventory.events[np.maximum(items.event, 0)]
    level = np.where(is_event, rows["structure"], items.version)
    time = np.where(is_event & (rows["type"] == EventType.DATA), rows["max_ts"], np.iinfo(np.int64).min)
    for wal in np.unique(items.wal[is_event]):
        mine = np.flatnonzero(items.wal == wal)
        level[mine] = np.maximum.accumulate(level[mine])
        time[mine] = np.maximum.accumulate(time[mine])
    order = np.lexsort((items.event, time, is_event, level))
    return _Items(items.event[order], items.version[order], items.wal[order], items.low[order], items.high[order])


def _place(items: _Items, capacity: Index) -> tuple[Index, int, bool, Refusal | None]:
    """Return the gap of each item, how many places stay empty, whether every item had one gap only, and why not.

    Gaps are filled from the first on, the item with the nearest last gap first: no other way fills more of them.

        gaps      0: one place   | 5 |   1: one place   | 7 |   2: without end
        items     a: gap 0 or 1          b: gap 0 only
        placed    b in gap 0             a in gap 1
    """
    last = len(capacity) - 1
    placed = np.full(len(items.event), last, np.int64)
    behind = items.low >= last
    if behind.all():
        return placed, int(capacity[:-1].clip(0).sum()), True, None
    order = np.flatnonzero(~behind)
    order = order[np.argsort(items.low[order], kind="stable")]
    waiting: list[tuple[int, int]] = []
    taken: dict[int, int] = {}
    at = 0
    empty = 0
    forced = True
    for gap in np.flatnonzero(capacity > 0).tolist():
        while at < len(order) and items.low[order[at]] <= gap:
            item = int(order[at])
            heapq.heappush(waiting, (int(items.high[item]), item))
            at += 1
        if gap == last:
            break
        room = int(capacity[gap])
        forced &= len(waiting) <= room
        while waiting and room:
            high, item = heapq.heappop(waiting)
            if high < gap:
                return placed, 0, False, _crowded(items, item)
            forced &= high == gap or not _later_room(capacity, gap, high, last)
            taken[item] = gap
            room -= 1
        empty += room
    for high, item in [*waiting, *((int(items.high[i]), int(i)) for i in order[at:])]:
        if high < last:
            return placed, 0, False, _crowded(items, item)
    for item, gap in taken.items():
        placed[item] = gap
    return placed, empty, forced, None


def _empty_behind(wanted: Wanted, fixed_seq: Index, placed: int) -> int:
    """Return how many places between the last known transaction on disk and the last one that is lost stay empty."""
    first = int(fixed_seq[-1]) + 1 if len(fixed_seq) else wanted.applied + 1
    last = wanted.left_out.last() or 0
    return max(0, last + 1 - first - wanted.left_out.count(first, last) - placed)


def _later_room(capacity: Index, gap: int, high: int, last: int) -> bool:
    return high >= last or bool((capacity[gap + 1 : high + 1] > 0).any())


def _crowded(items: _Items, item: int) -> Refusal:
    what = f"a transaction of wal{int(items.wal[item])}" if items.event[item] >= 0 else "a structure change"
    return Refusal(
        RefusalCode.ORDER_CONTRADICTS,
        f"the log has no place for {what} between the records around it, so its records and the segments contradict",
        "restore-sequencer from another backup, or rebuild-sequencer, which does not rest on these records",
        action="restore-sequencer",
    )


def _several_writers(items: _Items, placed: Index) -> bool:
    """Return whether some gap got events of more than one WAL, so that their order was chosen by time."""
    is_event = items.event >= 0
    pairs = np.unique(np.stack((placed[is_event], items.wal[is_event])), axis=1)
    return bool(len(pairs[0]) > len(np.unique(pairs[0])))


def _check_choice(inventory: Inventory, events: Index, items: _Items, wanted: Wanted) -> list[Refusal]:
    chosen = inventory.events[events]
    other = chosen[~is_plain(chosen)]
    if len(other):
        what = _OTHERS.get(EventType(int(other["type"][0])), "data that replaces a range")
        return [_unordered(f"wal{int(other['wal'][0])} holds {what} among them")]
    if wanted.dedup and wanted.shared_keys:
        return [
            _unordered("the table has dedup keys, and rows of different writers have the same keys with other values")
        ]
    return []


def _unordered(why: str) -> Refusal:
    return Refusal(
        RefusalCode.ORDER_AMBIGUOUS,
        f"the order between several writers' transactions is lost, and it matters: {why}",
        "restore-sequencer from a backup that has these records; the server's log of the commits (settings: "
        "questdb.log) would settle it",
        action="restore-sequencer",
    )


def _check_statements(inventory: Inventory, items: _Items) -> list[Refusal]:
    """A statement may stand in a segment of an older structure than it was committed under (docs/formats.md)."""
    events = items.event[items.event >= 0]
    statements = events[inventory.events["type"][events] == EventType.SQL]
    if len(statements) and (items.version > 0).any():
        wal = int(inventory.events["wal"][statements[0]])
        return [_unordered(f"wal{wal} holds an SQL statement that may stand before or after a structure change")]
    return []


def _check_key_changes(inventory: Inventory, items: _Items, wanted: Wanted) -> list[Refusal]:
    """Rows that came after a change of dedup keys may lie in a segment of before: no writer begins one for it."""
    rows = inventory.events[items.event[items.event >= 0]]
    either = rows[(rows["type"] == EventType.DATA) & (rows["structure"] < max(wanted.key_changes, default=0))]
    if not len(either):
        return []
    return [_unordered(f"rows of wal{int(either['wal'][0])} may stand before or after a change of the dedup keys")]


def _check_versions(inventory: Inventory, event: Index, reached: Index) -> list[Refusal]:
    """Data must be written under the structure that the table has when it comes to it."""
    at = np.flatnonzero(event >= 0)
    rows = inventory.events[event[at]]
    wrong = np.flatnonzero((rows["type"] == EventType.DATA) & (rows["structure"] > reached[at]))
    if not len(wrong):
        return []
    need = int(rows["structure"][wrong].max())
    return [
        Refusal(
            RefusalCode.STRUCTURE_CHANGE_LOST,
            f"structure version {need}, under which {plural(len(wrong), 'transaction')} came, is neither in the table "
            "nor in any _txnlog.meta.d found",
            "restore-sequencer from a backup whose _txnlog.meta.d has the change; else copy the table and salvage the "
            "segments (copy-table, salvage-wal)",
            action="restore-sequencer",
        )
    ]


def _merge(items: _Items, placed: Index, fixed_event: Index, fixed_version: Index) -> tuple[Index, Index]:
    """Return all transactions in order: the items of gap g stand before the fixed one g."""
    gap = np.concatenate((placed, np.arange(len(fixed_event))))
    after = np.concatenate((np.zeros(len(placed), np.int64), np.ones(len(fixed_event), np.int64)))
    rank = np.concatenate((np.arange(len(placed)), np.zeros(len(fixed_event), np.int64)))
    order = np.lexsort((rank, after, gap))
    event = np.concatenate((items.event, fixed_event))[order]
    version = np.concatenate((items.version, fixed_version))[order]
    return event, version
