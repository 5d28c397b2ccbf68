"""Whether a log with the right table id is of this life of the table: its records against the segments they name.

A converted table keeps its id, and WAL ids begin at 1 again, so that the log of an earlier life names segments of this
one. What it cannot have is the time: the files of a segment are created before the first record that names it.

    wal1/0  created 12:11      a record of wal1/0 of 12:04: of an earlier life
                               a record of wal1/0 of 12:13: of this one

The server truncates a segment's files as it closes them; its directory and its lock file keep their first time.

Copying makes a file younger, never older. So a segment that is older than a record always speaks for the log; one that
is younger speaks against it only if some file of the table is older than the record, which a copy without times is not.

Times alone convict no log: a restore of some files, rsync without times and a clock that was set change them. A log
that agrees with the disk is not of another life, whatever the times are. It reaches what is applied, each unapplied
record names a segment that is there, and it names each segment on disk up to its last transaction.
"""

import enum
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.formats.sequencer import LOG_RECORD
from console.questdb.layout import TableDirectory
from console.questdb.reading import read_small
from console.questdb.registry import read_registry
from console.questdb.segment_chain import HEADER_SIZE, last_txn
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import TxnLog, read_log, record_kinds, valid_records

LOOKS: Final = (256, 16_384)
"""Records that are looked at from the end, first and where that tells nothing: those of an earlier life are all older
than this one."""
SLACK_US: Final = 1_000_000
"""tar keeps whole seconds of a time, and the kernel stamps files with a clock that is some milliseconds behind."""
_OLDEST: Final = ("_name", "_meta", "_cv")
_NEVER: Final = 1 << 62
_DAY_US: Final = 86_400_000_000


class Life(enum.Enum):
    """What the segments on disk say of a log."""

    THIS = "this"  # a segment that it names was there before the record
    OTHER = "other"  # a segment that it names was created after the record, or the log ended before the table began
    OPEN = "open"  # nothing tells


def forked(table: TableDirectory, log: TxnLog, folder: Path) -> int | None:
    """Return from which transaction on a copy in `folder`, with its `log`, is of another life of the table; else None.

    A table that was put back from a copy goes on with other transactions. A copy that had applied none of them is of
    this life, however far its log went.
    """
    state, fork = read_table_txn(folder).current, fork_of(log, read_log(table.sequencer))
    return fork if fork is not None and (state is None or state.applied_txn >= fork) else None


def fork_of(log: TxnLog, other: TxnLog) -> int | None:
    """Return the first transaction from which on two logs of one creation name other ones each; None if none is known.

    One record that differs is damage: behind a fork every one does. Looked at from the end, to the last that is alike.
    """
    headers = log.header, other.header
    if headers[0] is None or headers[1] is None or headers[0].created_us != headers[1].created_us:
        return None
    fork, end = None, min(headers[0].max_txn, headers[1].max_txn)
    while end > 0:
        first = max(1, end - LOOKS[1] + 1)
        try:
            ours, theirs = log.records(first, end), other.records(first, end)
        except OSError:
            return fork
        ours, theirs = ours[: len(theirs)], theirs[: len(ours)]
        both = valid_records(ours) & valid_records(theirs)
        same = both & np.logical_and.reduce([ours[name] == theirs[name] for name in LOG_RECORD.dtype.names or ()])
        alike = int(np.flatnonzero(same)[-1]) + 1 if same.any() else 0
        others = np.flatnonzero((both & ~same)[alike:])
        fork = first + alike + int(others[0]) if len(others) else fork
        if alike:
            break
        end = first - 1
    return fork


def life_of(table: TableDirectory, log: TxnLog, most: int) -> Life:
    """Return which life of the table a log is of, as far as its last `most` records and the files tell.

    OTHER needs both: times that speak against the log, and content that does not agree with the disk.
    """
    life = _by_times(table, log, most)
    return Life.OPEN if life is Life.OTHER and agrees(table, log) else life


def _by_times(table: TableDirectory, log: TxnLog, most: int) -> Life:
    oldest = min((written_us(table.path / name) for name in _OLDEST), default=_NEVER)
    written = log.stamp.mtime_ns // 1000 if log.stamp is not None else _NEVER
    keys, times, _ = _named(log, most)
    if max(written, int(times.max(initial=0))) < oldest - SLACK_US and oldest < _NEVER:
        return Life.OTHER
    on_disk = _on_disk(table)
    made = np.array([segment_created_us(on_disk[key]) if key in on_disk else -1 for key in keys.tolist()], np.int64)
    there = (made >= 0) & (made < _NEVER)
    before = there & (made <= times + SLACK_US)
    after = there & ~before & (times + SLACK_US >= oldest)
    if after.any():
        return Life.OTHER
    return Life.THIS if before.any() else Life.OPEN


def agrees(table: TableDirectory, log: TxnLog) -> bool:
    """Return whether a log agrees with all that is on disk, without any time. Raises nothing.

    A server may write meanwhile. It writes an event before the record, so that the ends before a reading of the log and
    those after it hold the log's between them. The last event of a WAL can be one that no record names: a server was
    killed between the two. Only the last records are read: what they do not name, an older one may.
    """
    area = read_table_txn(table.path).current
    before = _ends(table)
    log = read_log(log.path.parent)
    whole, top = log.whole_records, log.max_txn
    if area is None or not log.readable or top is None or not area.seq_txn <= top <= whole:
        return False
    first = log.whole_from(top - LOOKS[-1] + 1, top)
    if first > area.seq_txn + 1:
        return False
    try:
        records = log.records(first, top)
    except OSError:
        return False
    rows, changes, dropped = record_kinds(records["wal_id"], records["segment_id"], records["segment_txn"])
    if len(records) <= top - first or not (rows | changes | dropped).all():
        return False
    named = _highest(records[rows])
    unapplied = np.arange(top - len(records) + 1, top + 1) > area.applied_txn
    after = _ends(table)
    needed = _highest(records[rows & unapplied])
    newest = {key >> 32: key for key in sorted(before)}
    behind = [
        named.get(key, -1) < end - (newest[key >> 32] == key)
        for key, end in before.items()
        if key in named or len(records) == top
    ]
    return (
        not any(behind)
        and all(end <= after.get(key, end) for key, end in named.items())
        and needed.keys() <= after.keys()
    )


def _ends(table: TableDirectory) -> dict[int, int]:
    """Return the last transaction of each segment on disk by wal << 32 | segment, -1 for none."""
    return {key: _last_txn(path) for key, path in _on_disk(table).items()}


def _highest(records: NDArray[Any]) -> dict[int, int]:
    """Return the highest transaction that records of rows name, by wal << 32 | segment."""
    keys, place = np.unique(segment_keys(records), return_inverse=True)
    highest = np.full(len(keys), -1, np.int64)
    np.maximum.at(highest, place, records["segment_txn"])
    return dict(zip(keys.tolist(), highest.tolist(), strict=True))


def segment_keys(records: NDArray[Any]) -> NDArray[np.int64]:
    return records["wal_id"].astype(np.int64) << 32 | records["segment_id"].astype(np.int64)


def names_all(table: TableDirectory, log: TxnLog) -> bool:
    """Return whether a log names each segment on disk up to its last transaction: what shows its life without times."""
    keys, _, highest = _named(log, LOOKS[-1])
    ends = dict(zip(keys.tolist(), highest.tolist(), strict=True))
    segments = _ends(table)
    return bool(segments) and all(last == ends.get(key, -1) for key, last in segments.items())


def _on_disk(table: TableDirectory) -> dict[int, Path]:
    """Return the segments of a table by wal << 32 | segment."""
    return {wal.id << 32 | segment: wal.segment(segment) for wal in table.wals() for segment in wal.segments}


def lived_once(table: TableDirectory) -> bool:
    """Return whether the registry proves that the table was never converted, and never dropped and created again.

    A start that converts a table writes the registry anew, with the next number; a rename adds another name.
    """
    registry = read_registry(table.path.parent)
    names = [entry.name for entry in registry.entries if entry.directory == table.directory and not entry.removed]
    again = any(first == second for first, second in pairwise(names))
    return registry.version == 0 and table.directory in registry.live() and not again


def _named(log: TxnLog, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the segments that the last records name, as wal << 32 | segment, ascending; of each the newest time (µs)
    and the highest segment transaction."""
    records = last_records(log, most)
    rows, _, _ = record_kinds(records["wal_id"], records["segment_id"], records["segment_txn"])
    newest = (log.stamp.mtime_ns // 1000 if log.stamp is not None else 0) + _DAY_US
    records = records[rows & (records["commit_us"] > 0) & (records["commit_us"] <= newest)]
    named, place = np.unique(segment_keys(records), return_inverse=True)
    times, highest = np.zeros(len(named), np.int64), np.full(len(named), -1, np.int64)
    np.maximum.at(times, place, records["commit_us"])
    np.maximum.at(highest, place, records["segment_txn"])
    return named, times, highest


def last_records(log: TxnLog, most: int) -> NDArray[Any]:
    whole = log.whole_records
    last = min(whole, log.max_txn) if log.max_txn else whole
    try:
        return log.records(log.whole_from(last - most + 1, last), last)
    except OSError:
        return log.records(1, 0)


def _last_txn(segment: Path) -> int:
    """Return the last segment transaction by the header of `_event`, -1 if there is none."""
    head = np.frombuffer(read_small(segment / "_event", HEADER_SIZE + 4).data, np.uint8)
    return last_txn(head) if len(head) >= HEADER_SIZE else -1


def segment_created_us(segment: Path) -> int:
    """Return when a segment was created at the latest (µs)."""
    return min(map(written_us, (segment, segment.with_name(f"{segment.name}.lock"), segment / "_meta")))


def has_segment_before(table: TableDirectory, time_us: int) -> bool:
    """Return whether a segment on disk was created before a time (µs)."""
    return any(segment_created_us(path) < time_us for path in _on_disk(table).values())


def laid_down_us(segment: Path) -> int | None:
    """Return when the directory of a segment was made (µs), whatever its lock file says; None if that is not known.

    A directory that is younger than `_meta` in it has the time of a copy: the server writes `_meta` as it makes the
    segment, and again as it closes it.
    """
    made, metadata = written_us(segment), written_us(segment / "_meta")
    return made if made <= metadata + SLACK_US and metadata < _NEVER else None


def written_us(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns // 1000
    except OSError:
        return _NEVER
