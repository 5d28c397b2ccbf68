"""What one look at a table may leave to the next: records that were checked, segments and rows that were read.

A log only grows, and a segment's committed rows never change; so what was seen of them is seen. What is remembered is
believed only while the file is the same one and ends, where the reading ended, with the very bytes that were read.
"""

import copy
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.log_check import LogChecker
from console.questdb.partition_spans import PartitionSpan
from console.questdb.segment import Segment
from console.questdb.txn_log import TxnLog
from console.table.txn_set import TxnSet

_TAIL: Final = 146
"""Records compared before a log is gone on with: about a page of them."""
_SEGMENT_FILES: Final = ("_event", "_event.i", "_meta")
_Stamp = tuple[tuple[int, ...] | None, ...]
_Lengths = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class BelowMemory:
    """What a log's records up to the applied transaction name: `recorded` as in LogScan, two counts, and references.

    `named` are (transaction, WAL, segment, segment transaction) of what was on disk, as i64 of shape (n, 4); `last` has
    the last address by WAL; `keys` are the segments that were on disk, `highest` is the highest WAL that was named.
    """

    recorded: TxnSet
    counts: tuple[int, int]
    named: NDArray[np.int64]
    last: dict[int, int]
    keys: NDArray[np.int64]
    counts_of: NDArray[np.int64]
    highest: int


@dataclass(slots=True)
class LogMemory:
    """The check of a log's records up to `upto`, of which `tail` are the last bytes; `log` tells which log it was."""

    log: tuple[object, ...]
    upto: int
    tail: bytes
    checker: LogChecker
    below: BelowMemory


@dataclass(slots=True)
class TableMemory:
    """What is remembered of one table; empty at first. `columns` has, by segment, the end row of each whole event."""

    logs: dict[Path, LogMemory] = field(default_factory=dict)
    segments: dict[Path, tuple[_Stamp, Segment]] = field(default_factory=dict)
    columns: dict[Path, tuple[_Lengths, dict[int, int]]] = field(default_factory=dict)
    partitions: set[PartitionSpan] = field(default_factory=set)
    """Partitions whose files were long enough for the rows that `_txn` counted."""

    def resume(self, log: TxnLog, split: int) -> LogMemory | None:
        """Return what is remembered of the records of `log`, None where nothing is, or more than up to `split`.

        Raises OSError where the log cannot be read.
        """
        known = self.logs.get(log.path)
        if (
            known is None
            or known.log != _identity(log)
            or not 0 < known.upto <= split
            or _tail(log, known.upto) != known.tail
        ):
            return None
        return LogMemory(known.log, known.upto, known.tail, copy.deepcopy(known.checker), known.below)

    def keep(self, log: TxnLog, split: int, checker: LogChecker, below: BelowMemory) -> None:
        """Remember a check of the records up to `split`, before more is fed to `checker`. Raises OSError."""
        self.logs[log.path] = LogMemory(_identity(log), split, _tail(log, split), copy.deepcopy(checker), below)

    def segment(self, directory: Path) -> Segment | None:
        """Return the segment as it was read, where it was whole and closed and its files are unchanged since."""
        known = self.segments.get(directory)
        return known[1] if known is not None and known[0] == _stamp(directory, _SEGMENT_FILES) else None

    def keep_segment(self, directory: Path, stamp: _Stamp, segment: Segment) -> None:
        """Remember a segment that was read after `stamp` was taken, if no writer will change it any more."""
        if segment.closed and segment.whole and not segment.problems and None not in stamp:
            self.segments[directory] = (stamp, segment)

    def stamp_of(self, directory: Path) -> _Stamp:
        return _stamp(directory, _SEGMENT_FILES)

    def unchecked(self, segment: Segment, txns: list[int]) -> list[int]:
        """Return those of `txns` whose rows were not found whole before."""
        known = self._whole(segment)
        return [txn for txn in txns if known.get(txn) != int(segment.events["end_row"][txn])]

    def keep_rows(self, segment: Segment, txns: list[int]) -> None:
        self._whole(segment).update((txn, int(segment.events["end_row"][txn])) for txn in txns)

    def forget_all_but(self, segments: set[Path]) -> None:
        self.segments = {path: known for path, known in self.segments.items() if path in segments}
        self.columns = {path: known for path, known in self.columns.items() if path in segments}

    def _whole(self, segment: Segment) -> dict[int, int]:
        """Return the end rows of the whole events, none where a column was put in another's place, or cut."""
        now = _lengths(segment.path)
        lengths, rows = self.columns.get(segment.path, (now, {}))
        same = all(
            name in now and now[name][0] == inode and now[name][1] >= size for name, (inode, size) in lengths.items()
        )
        self.columns[segment.path] = (now, rows if same else {})
        return self.columns[segment.path][1]


def _identity(log: TxnLog) -> tuple[object, ...]:
    header = log.header
    if header is None or log.stamp is None:
        return ()
    return log.stamp.device, log.stamp.inode, header.version, header.created_us, header.part_size


def _tail(log: TxnLog, upto: int) -> bytes:
    return log.records(max(1, upto + 1 - _TAIL), upto).tobytes()


def _stamp(directory: Path, names: tuple[str, ...]) -> _Stamp:
    return tuple(_stat(directory / name) for name in names)


def _stat(path: Path) -> tuple[int, ...] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _lengths(directory: Path) -> _Lengths:
    found: _Lengths = {}
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                found[entry.name] = (status.st_ino, status.st_size)
    except OSError:
        return {}
    return found
