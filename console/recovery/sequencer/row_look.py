"""One look at the rows of events beside the table's: what is surely there, surely not, or the same either way.

A row that is missing proves that its event is not applied only if nothing can have removed it. `_txn` counts whatever
removes partitions (its truncate version: TRUNCATE, DROP, DETACH and TTL); where it counts any, the partition must hold
a row of an earlier event of the same WAL, which would have gone with it. Under dedup keys rows are replaced: there only
missing keys count, and equal rows prove nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.partition_rows import TableRows
from console.recovery.sequencer.applied_prefix import Seen
from console.recovery.sequencer.compared_columns import ComparedColumns, joined_columns, same_columns
from console.recovery.sequencer.dedup_rows import crossed_keys, same_either_way
from console.recovery.sequencer.disk import TableOnDisk
from console.recovery.sequencer.event_rows import EventRows, read_event_rows
from console.recovery.sequencer.multisets import Evidence, counted, onward, settle, up_to
from console.recovery.sequencer.other_rows import others
from console.recovery.sequencer.table_content import TableContent, read_content
from console.recovery.sequencer.zeroed import zeroed_columns
from console.table.inventory import Index, Mask, is_plain
from console.table.torn import check_events

MAX_ROWS: Final = 30_000_000
"""Rows of segments that are compared at most: beyond it the comparison would take minutes and gigabytes."""


_OTHER_VALUES: Final = (
    "the table has rows of the same times with other values, which no transaction on disk explains: columns of applied "
    "rows may be damaged"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: `events` of a table, beside those surely `applied` and those surely `waiting`."""

    table: TableOnDisk
    rows: TableRows
    events: Index
    applied: Index
    waiting: Index


@dataclass(frozen=True, slots=True)
class Looked:
    """`seen` per event. `doubts`: pages of zeros in the table (partitions by column) that what is absent rests on."""

    seen: NDArray[Any]
    why: str
    doubts: Mapping[int, Index] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read. Masks over the events asked: `older` and `newer` by the structure of their segments, `exact` of
    the table's own version, `trusted` where no column is torn, `timed` where the timestamps are whole.

    `beside` are rows of events that surely are applied, `unread_span` the times of events whose rows are not known.
    """

    wal: Index
    plain: Mask
    older: Mask
    newer: Mask
    exact: Mask
    trusted: Mask
    timed: Mask
    rows: EventRows
    beside_wal: Index
    beside: EventRows
    unread_span: Index
    content: TableContent


def looked(asked: Asked, compared: ComparedColumns) -> Looked:
    """Return what the rows say. Raises DamageError or OSError where the table's own files cannot be read."""
    read = _read(asked, compared)
    seen = np.full(len(asked.events), Seen.UNKNOWN, np.int64)
    if compared.keys:
        present, absent = _replacing(asked, compared, read)
        seen[_same(asked, compared, read, absent)] = Seen.SAME
    else:
        present, absent = _counting(asked, compared, read)
    seen[read.plain & (asked.table.inventory.rows[asked.events] == 0)] = Seen.SAME
    seen[present | read.older] = Seen.PRESENT
    seen[absent] = Seen.ABSENT
    other = np.zeros(len(seen), np.bool_) if compared.keys else _other_values(read, present, absent)
    if (open_ := np.flatnonzero(other)).size:
        other[open_] = ~others(asked.table, asked.rows, compared, asked.events[open_])
    seen[other] = Seen.UNKNOWN
    content = read.content
    doubtful = absent[read.rows.event] & np.isin(read.rows.stamps, content.doubtful)
    rows = asked.table.inventory.rows[asked.events]
    doubts = zeroed_columns(asked.table, compared, asked.events, read.rows, absent & read.plain & (rows > 0))
    if doubtful.any():
        doubts = joined_columns(doubts, content.zero_columns)
    why = _why(asked, compared, read) or (_OTHER_VALUES if other.any() else "")
    return Looked(seen, why, {} if compared.doubts(doubts) else doubts)


def _read(asked: Asked, compared: ComparedColumns) -> _Read:
    table, inventory = asked.table, asked.table.inventory.events
    events = inventory[asked.events]
    plain = is_plain(events)
    older, newer, exact = _by_structure(table, asked.events)
    older &= plain
    wanted = plain & ~older
    rows = read_event_rows(table, compared, asked.events, wanted)
    trusted, timed = _whole(table, asked.events, wanted)
    stamps = np.unique(np.concatenate((rows.stamps, rows.bare_stamps)))
    known = np.sort(np.concatenate((asked.applied, asked.events[older])))
    near = _near(asked, compared, known[is_plain(inventory[known])], stamps)
    few = int(table.inventory.rows[near].sum()) <= MAX_ROWS
    beside = read_event_rows(table, compared, near, np.full(len(near), few))
    unread = np.concatenate((events[~rows.read], inventory[near[~beside.read] if few else near]))
    return _Read(
        wal=events["wal"].astype(np.int64), plain=plain, older=older, newer=newer, exact=exact, trusted=trusted,
        timed=timed, rows=rows, beside_wal=inventory["wal"][near].astype(np.int64), beside=beside,
        unread_span=np.stack((unread["min_ts"], unread["max_ts"])).astype(np.int64),
        content=read_content(asked.rows, compared, np.union1d(stamps, beside.stamps)),
    )  # fmt: skip


def _counting(asked: Asked, compared: ComparedColumns, read: _Read) -> tuple[Mask, Mask]:
    """Return which events are present and absent in a table that keeps every row."""
    rows, content = read.rows, read.content
    readable = _readable(compared, read, rows.stamps)
    proves = readable & (read.trusted & (read.exact | read.newer))[rows.event]
    within = np.zeros(len(read.wal), np.bool_)
    while True:
        lasting = _lasting(asked, compared, read, within)
        evidence = Evidence(
            wal=read.wal, event=rows.event, values=rows.values, sure=rows.sure, table_values=content.values,
            table_sure=content.sure, applied_values=read.beside.values, applied_sure=read.beside.sure,
            decides=proves & lasting, free=readable & ~_among(rows.stamps, read.unread_span),
            absent=_untimely(asked, compared, read, lasting),
        )  # fmt: skip
        present, absent = settle(evidence)
        now = within | up_to(read.wal, present)
        if (now == within).all():
            return present, absent
        within = now


def _other_values(read: _Read, present: Mask, absent: Mask) -> Mask:
    """Return which of the `absent` events may be applied, their columns damaged since, in the WAL or in the table.

    The table has rows of all their times that no transaction on disk explains.
    """
    rows = read.rows
    mine = np.flatnonzero((absent & read.plain & ~read.newer)[rows.event])
    mine = mine[np.lexsort((rows.stamps[mine], rows.event[mine]))]
    fresh = np.diff(rows.event[mine], prepend=-1) != 0
    fresh[1:] |= np.diff(rows.stamps[mine]) != 0
    first = np.flatnonzero(fresh)
    event, stamps = rows.event[mine[first]], rows.stamps[mine[first]]
    explained = np.concatenate((rows.stamps[present[rows.event]], read.beside.stamps))
    left = counted(stamps, read.content.stamps) - counted(stamps, explained)
    short = np.bincount(event, left < np.diff(np.append(first, len(mine))), len(absent)) > 0
    return np.asarray((np.bincount(event, minlength=len(absent)) > 0) & ~short)


def _replacing(asked: Asked, compared: ComparedColumns, read: _Read) -> tuple[Mask, Mask]:
    """Return which events are present (none: an equal row proves nothing) and absent in a table with dedup keys."""
    rows = read.rows
    none = np.zeros(len(read.wal), np.bool_)
    lasting = _lasting(asked, compared, read, none)
    proves = _readable(compared, read, rows.stamps) & (read.trusted & (read.exact | read.newer))[rows.event] & lasting
    floors = compared.partitioning.floors(rows.stamps)
    for key in compared.keys & compared.rewritten.keys():
        proves &= ~np.isin(floors, compared.rewritten[key])
    missing = proves & (counted(rows.keys, read.content.keys) == 0)
    absent = np.bincount(rows.event, missing, len(none)) > 0
    return none, absent | _untimely(asked, compared, read, lasting)


def _same(asked: Asked, compared: ComparedColumns, read: _Read, absent: Mask) -> Mask:
    """Return which events leave the table with dedup keys as it is, whether they are applied again or not at all."""
    none = np.zeros(len(absent), np.bool_)
    inventory = asked.table.inventory.events
    waiting = read_event_rows(asked.table, compared, asked.waiting, np.ones(len(asked.waiting), np.bool_))
    # A statement may see the rows before or after them, and what cannot be read may have any keys.
    if not read.plain.all() or not is_plain(inventory[asked.waiting]).all():
        return none
    if not (read.rows.read.all() and waiting.read.all()):
        return none
    open_events = ~onward(read.wal, absent) & ~read.older
    wal_beside = inventory["wal"][asked.waiting][waiting.event].astype(np.int64)
    crossed = crossed_keys(
        np.concatenate((read.wal[read.rows.event], wal_beside)),
        np.concatenate((read.rows.keys, waiting.keys)),
        np.concatenate((read.rows.values, waiting.values)),
    )
    return same_either_way(read.rows, read.wal, open_events, crossed, read.content)


def _by_structure(table: TableOnDisk, events: Index) -> tuple[Mask, Mask, Mask]:
    """Return which events are surely applied, surely waiting, and of the table's own structure, by their segments'.

    A change of columns makes every writer begin a segment, so that rows under older columns came before it. A change
    of dedup keys or of the table's name does not.
    """
    rows = table.inventory.events[events]
    same: dict[tuple[int, int], bool | None] = {}
    for key in np.unique(rows[["wal", "segment"]]).tolist():
        segment = table.segments[key]
        same[key] = same_columns(table.metadata, segment) if segment.metadata is not None else None
    alike = np.array([same[key] is True for key in rows[["wal", "segment"]].tolist()], np.bool_)
    other = np.array([same[key] is False for key in rows[["wal", "segment"]].tolist()], np.bool_)
    newer = rows["structure"] > table.structure
    return (rows["structure"] < table.structure) & other, newer, alike & (rows["structure"] == table.structure)


def _whole(table: TableOnDisk, events: Index, wanted: Mask) -> tuple[Mask, Mask]:
    """Return which events have no torn or suspect column, and which have whole timestamps."""
    rows = table.inventory.events[events]
    trusted, timed = np.ones(len(events), np.bool_), np.ones(len(events), np.bool_)
    for wal, number in np.unique(rows[wanted][["wal", "segment"]]).tolist():
        segment = table.segments[wal, number]
        mine = np.flatnonzero(wanted & (rows["wal"] == wal) & (rows["segment"] == number))
        torn = check_events(segment, rows["txn"][mine].tolist())
        stamp = segment.metadata.timestamp if segment.metadata is not None else None
        bad = {each.event for each in torn}
        no_time = {each.event for each in torn if stamp is None or each.column == stamp.name}
        trusted[mine] = ~np.isin(rows["txn"][mine], list(bad))
        timed[mine] = ~np.isin(rows["txn"][mine], list(no_time))
    return trusted, timed


def _near(asked: Asked, compared: ComparedColumns, known: Index, stamps: Index) -> Index:
    """Return those of the `known` events that may have rows of the same times; where partitions were removed, all of
    the same partitions, as they tell which of these stayed."""
    rows = asked.table.inventory.events[known]
    low, high = rows["min_ts"].astype(np.int64), rows["max_ts"].astype(np.int64)
    if asked.table.txn.truncate_version:
        stamps = np.unique(compared.partitioning.floors(stamps))
        low, high = compared.partitioning.floors(low), compared.partitioning.floors(high)
    return known[np.searchsorted(stamps, low) < np.searchsorted(stamps, high, "right")]


def _readable(compared: ComparedColumns, read: _Read, stamps: Index) -> Mask:
    return ~np.isin(compared.partitioning.floors(stamps), read.content.unreadable)


def _untimely(asked: Asked, compared: ComparedColumns, read: _Read, lasting: Mask) -> Mask:
    """Return which events have a row at a time at which the table has none at all; newer statements are absent too."""
    rows, content = read.rows, read.content
    event = np.concatenate((rows.event, rows.bare_event))
    stamps = np.concatenate((rows.stamps, rows.bare_stamps))
    stays = np.concatenate((lasting, np.full(len(rows.bare_event), asked.table.txn.truncate_version == 0)))
    proves = (stays | read.newer[event]) & read.timed[event] & _readable(compared, read, stamps)
    missing = proves & (counted(stamps, content.stamps) == 0)
    return (np.bincount(event, missing, len(read.wal)) > 0) | (read.newer & ~read.plain)


def _lasting(asked: Asked, compared: ComparedColumns, read: _Read, within: Mask) -> Mask:
    """Return which rows would be there had they been applied: nothing can have removed their partition since.

    `within` are surely applied: what they have in a partition that is there now tells that it stayed.
    """
    rows, content = read.rows, read.content
    if asked.table.txn.truncate_version == 0:
        return np.ones(len(rows.event), np.bool_)
    floors = compared.partitioning.floors(rows.stamps)
    wals = read.wal[rows.event]
    there = within[rows.event] & (counted(rows.values, content.values) > 0)
    beside = counted(read.beside.values, content.values) > 0
    places = np.concatenate((rows.event, rows.event[there], np.full(int(beside.sum()), -1)))
    pairs = np.stack((
        np.concatenate((wals, wals[there], read.beside_wal[read.beside.event[beside]])),
        np.concatenate((floors, floors[there], compared.partitioning.floors(read.beside.stamps[beside]))),
    ))  # fmt: skip
    number = np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1)
    first = np.full(int(number.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, number[len(wals) :], places[len(wals) :])
    return np.asarray((rows.event > first[number[: len(wals)]]) | read.newer[rows.event])


def _among(stamps: Index, spans: Index) -> Mask:
    """Return which of `stamps` lie in one of `spans` (two rows: first and last)."""
    if not spans.shape[1]:
        return np.zeros(len(stamps), np.bool_)
    order = np.argsort(spans[0])
    first, last = spans[0][order], np.maximum.accumulate(spans[1][order])
    place = np.searchsorted(first, stamps, "right") - 1
    return np.asarray((place >= 0) & (stamps <= last[np.maximum(place, 0)]))


def _why(asked: Asked, compared: ComparedColumns, read: _Read) -> str:
    """Return what stands against an answer, should it not do."""
    if read.content.why or read.rows.why:
        return read.content.why or read.rows.why
    if compared.keys:
        return "the table has dedup keys, so a later row may have replaced an earlier one"
    if asked.table.txn.truncate_version:
        return "partitions may have been removed from the table, and with them rows that were applied"
    return ""
