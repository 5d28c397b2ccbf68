"""Which segments in a table's own WAL are not proven to be its own: their times against the log and the lock files.

A station that was made by the same statements has the same ids and columns, so that a segment of it fits in every
other way. A server locks a segment, makes its directory, and only then writes the record that first names it:

    wal2.lock  10:00:00    wal2/0.lock  10:00:00    wal2/0  10:00:00    record of wal2/0  10:00:05
    wal2.lock  10:00:00    wal2/0.lock  10:00:00    wal2/0  10:20:00    late: not there when the record was written
    wal2.lock  10:00:00    wal2/0.lock  10:00:00    wal2/0  09:40:00    early: not there when it was locked

Nothing is judged if the table, or all of its WAL, is a copy without times, or if the clock of the records went back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from console.questdb.layout import TableDirectory, WalDirectory
from console.questdb.segment import EventType, read_segment
from console.questdb.txn_log import TxnLog, record_kinds
from console.table.log_life import LOOKS, SLACK_US, laid_down_us, last_records, segment_keys, written_us

_MINUTE_US: Final = 60_000_000
_UNCHANGED: Final = ("_name", "_meta", "_cv", "_todo_", "txn_seq/_meta.0")
"""Files of which one at least has the time of the table's creation, unless they were copied without times."""
_NEVER: Final = 1 << 62

Address = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Named:
    """What the last records of a log tell: the earliest time of each segment that they name, and of each change (µs).

    `all` says that they are all records of the log.
    """

    first: Mapping[Address, int]
    changes: tuple[int, ...]
    all: bool


def misplaced(table: TableDirectory, log: TxnLog) -> dict[Address, str]:
    """Return why segments, by (wal, segment), are not proven to be the table's: clauses with the segment as subject.

    `log` is the table's own, in place. Raises nothing.
    """
    wals = table.wals()
    if not wals or not _keeps_times(table, log):
        return {}
    on_disk = {(wal.id, number) for wal in wals for number in wal.segments}
    for most in LOOKS:
        named = _named(log, most)
        if named is None or named.all or on_disk <= named.first.keys():
            break
    if named is None or all(_is_copy(wal, named) for wal in wals):
        return {}
    began = log.header.created_us if log.header is not None else 0
    return {address: why for wal in wals for address, why in _judged(table, wal, named, began)}


def _named(log: TxnLog, most: int) -> _Named | None:
    """Return what the last records tell, None if the clock went back between two of them, or no time can be read."""
    records = last_records(log, most)
    top = min(log.whole_records, log.max_txn or 0)
    complete = len(records) == top
    records = records[records["commit_us"] > _MINUTE_US]  # filler of a repair has none
    if not len(records) or bool((np.diff(records["commit_us"]) < -SLACK_US).any()):
        return None
    rows, changes, _ = record_kinds(records["wal_id"], records["segment_id"], records["segment_txn"])
    keys, first = np.unique(segment_keys(records[rows]), return_index=True)
    times = records["commit_us"][rows][first]
    pairs = zip(keys.tolist(), times.tolist(), strict=True)
    told = {(key >> 32, key & 0xFFFF_FFFF): time for key, time in pairs}
    return _Named(told, tuple(records["commit_us"][changes].tolist()), complete)


def _keeps_times(table: TableDirectory, log: TxnLog) -> bool:
    """Return whether some file of the table is as old as the log says that the sequencer is."""
    created = log.header.created_us if log.header is not None else 0
    oldest = min(written_us(table.path / name) for name in _UNCHANGED)
    return created > _MINUTE_US and oldest <= created + SLACK_US


def _is_copy(wal: WalDirectory, named: _Named) -> bool:
    """Return whether nothing in a WAL is as old as the first commit in it, as where it was copied without times."""
    first = min((time for (each, _), time in named.first.items() if each == wal.id), default=None)
    if first is None:
        return False
    made = [laid_down_us(wal.segment(number)) for number in wal.segments]
    made += [_time(wal.path / f"{number}.lock") for number in wal.segments]
    return all(time is None or time > first + SLACK_US for time in made)


def _judged(table: TableDirectory, wal: WalDirectory, named: _Named, began: int) -> Iterator[tuple[Address, str]]:
    lock = _time(table.path / f"wal{wal.id}.lock")
    before = {number: own for own, number in pairwise(wal.segments)}
    for number in wal.segments:
        first = named.first.get((wal.id, number))
        if first is None and (not named.all or any(wal.id == each and number < other for each, other in named.first)):
            continue  # an older record may name it
        own = wal.segment(before[number]) if number in before else None
        why = _by_times(_Segment(wal, number, own, lock, first), named, began)
        if not why and first is None and own is not None:
            why = _not_after(wal, number, own)
        if why:
            yield (wal.id, number), why


@dataclass(frozen=True, slots=True)
class _Segment:
    """One segment: the one `before` it in its WAL, when the WAL was locked, and the first record that names it (µs)."""

    wal: WalDirectory
    number: int
    before: Path | None
    lock: int | None
    first: int | None


def _by_times(segment: _Segment, named: _Named, began: int) -> str:
    wal, number, first = segment.wal, segment.number, segment.first
    path, made = wal.segment(number), laid_down_us(wal.segment(number))
    if made is None:
        return ""
    if first is not None and made > first + SLACK_US:
        late = "was created after the commit that the log names in it"
        return "" if _widened(path, first, made, named) else late
    if made + SLACK_US < began:
        return "is older than the log"
    own_lock, at_most = _time(path.with_name(f"{number}.lock")), first if first is not None else _NEVER
    if own_lock is not None and own_lock <= at_most and made + SLACK_US < own_lock:
        return f"is older than wal{wal.id}/{number}.lock"
    if segment.lock is not None and segment.lock <= at_most and made + SLACK_US < segment.lock:
        return f"is older than wal{wal.id}.lock"
    if segment.before is not None and made + SLACK_US < (laid_down_us(segment.before) or 0):
        return f"is older than wal{wal.id}/{segment.before.name}, which comes before it"
    if first is None and own_lock is not None and made > own_lock + _MINUTE_US:
        return f"is younger than wal{wal.id}/{number}.lock"
    return ""


def _not_after(wal: WalDirectory, number: int, before: Path) -> str:
    """Return why a segment that no record names cannot be its writer's next one; empty if it can.

    A writer locks the next segment and closes the one before it.
    """
    if _time(wal.path / f"{number}.lock") is None and _time(wal.path / f"{before.name}.lock") is not None:
        return f"has no lock file, and wal{wal.id}/{before.name} has one"
    return "" if read_segment(before).closed else f"comes after wal{wal.id}/{before.name}, which was never closed"


def _widened(segment: Path, first: int, made: int, named: _Named) -> bool:
    """Return whether the server may have added a column's files to a segment that held no rows, after an ALTER."""
    if not any(first < time <= made + SLACK_US for time in named.changes):
        return False
    kinds = read_segment(segment).events["type"]
    return bool(len(kinds)) and int(kinds[0]) not in (EventType.DATA, EventType.MAT_VIEW_DATA)


def _time(path: Path) -> int | None:
    time = written_us(path)
    return time if time < _NEVER else None
