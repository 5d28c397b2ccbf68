"""Vectorised check of a sequencer's log: every record decoded, in chunks, with memory that does not grow with the log.

It tells positions only; what they mean for a table is the diagnosis' business (zeroed records below the applied
transaction, for example, are the harmless filler of an earlier repair).
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.ranges import RangeCollector, Ranges
from console.questdb.txn_log import TxnLog, record_kinds
from console.questdb.wal_order import WalOrder, places_of, segment_of, txn_of

_CHUNK: Final = 1 << 17  # fewer cost calls and turns of the two threads, more cost the cache: measured
_LONG: Final = 1 << 20
"""Records from which on a second thread is worth its start."""
_AHEAD: Final = 4  # chunks that one thread may be ahead of the other


@dataclass(frozen=True, slots=True)
class LogCheck:
    """What the records `first`..`last` of a log show. All positions are transaction ids.

    zeroed: every byte is zero. wal_zero: the wal id is 0, other bytes are not. invalid: a combination of wal id,
    segment and segment transaction that no server writes, or a structure version below 0. structure_regress: a
    structure version lower than before. structure_step: one that moves other than by one at each structure change.
    repeated: the segment transaction that the same wal's record before it named. order: segment or segment transaction
    lower than that. gap: segment transactions left out in between. time_missing, time_backwards: of the commit time.

    `wals` has one row (wal_id, segment_id, segment_txn) per wal, ascending: the last that it is referred to by.
    """

    first: int
    last: int
    checked: int
    zeroed: Ranges
    wal_zero: Ranges
    invalid: Ranges
    structure_regress: Ranges
    structure_step: Ranges
    repeated: Ranges
    order: Ranges
    gap: Ranges
    time_missing: Ranges
    time_backwards: Ranges
    dropped: Ranges
    structure_changes: Ranges
    structure_version: int
    last_valid: int | None
    wals: NDArray[np.void]
    missing: tuple[tuple[int, int], ...]

    @property
    def highest_wal(self) -> int:
        """The highest wal id that a valid record names, 0 where none does."""
        return int(self.wals["wal_id"][-1]) if len(self.wals) else 0

    @property
    def clean(self) -> bool:
        """Whether nothing was found that a server does not write. Clock steps are none of that."""
        return not (
            self.missing
            or any(
                (
                    self.zeroed, self.wal_zero, self.invalid, self.structure_regress, self.structure_step,
                    self.repeated, self.order, self.gap,
                )
            )
        )  # fmt: skip


_KINDS: Final = (
    "zeroed", "wal_zero", "invalid", "structure_regress", "structure_step", "time_missing", "time_backwards", "dropped",
    "structure_changes",
)  # fmt: skip
_References = tuple[int, NDArray[np.int64] | None, NDArray[np.int32], NDArray[np.int64], NDArray[np.int64] | int]
"""What `WalOrder.feed` takes."""
_UNUSUAL: Final = -(1 << 63) | 0xF0000000  # bits no ordinary segment transaction and segment id have


def _pass(_first: int, _records: NDArray[Any]) -> None:
    """Nobody else wants to see the records."""


def check_log(log: TxnLog, *, first: int = 1, last: int | None = None) -> LogCheck:
    """Check the records `first`..`last` (default: the header's maxTxn) so far as the files hold them.

    Above maxTxn it tells which bytes behind the end look like records: `last_valid` is the last that does. Raises
    OSError where a file cannot be read.
    """
    end = (log.max_txn or 0) if last is None else last
    checker = LogChecker(first)
    checker.feed_from(log, first, end)
    return checker.finish(end, log.missing_parts(first, end) if log.readable else ())


class LogChecker:
    """Takes chunks of records in order (`feed`) and says what they show (`finish`)."""

    def __init__(self, first: int = 1) -> None:
        self._first = self._next = first
        self._checked = 0
        self._breaks = 0 if first == 1 else 1
        self._version = 0
        self._version_breaks = self._breaks
        self._commit_us = 0
        self._last_valid: int | None = None
        self._references = WalOrder()
        self._found = {name: RangeCollector() for name in _KINDS}

    def feed_from(self, log: TxnLog, first: int, last: int, seen: Callable[[int, NDArray[Any]], None] = _pass) -> None:
        """Check the records `first`..`last` of `log` so far as its files hold them. Raises OSError.

        Each block of records is shown to `seen` too, with the transaction of its first; it is overwritten afterwards.

        Of a long log one thread reads and looks at the records by themselves, a second one at the order of references:
        numpy lets both run, and each takes about half of the time.
        """
        chunks = log.chunks(_CHUNK, first=first, last=last)
        if last - first < _LONG:
            for at, records in chunks:
                self.feed(at, records)
                seen(at, records)
            return
        running: deque[Future[None]] = deque()
        with ThreadPoolExecutor(1, "references") as second:
            for at, records in chunks:
                running.append(second.submit(self._references.feed, *self._sort_out(at, records)))
                seen(at, records)
                while len(running) > _AHEAD:
                    running.popleft().result()
            for each in running:
                each.result()

    def feed(self, first: int, records: NDArray[np.void]) -> None:
        """Check `records`, the first of which is transaction `first` (not lower than what came before)."""
        self._references.feed(*self._sort_out(first, records))

    def _sort_out(self, first: int, records: NDArray[np.void]) -> _References:
        """Check all but the order of references, and return those: copies, since `records` are overwritten."""
        if first != self._next:
            self._breaks += 1
        self._next = first + len(records)
        self._checked += len(records)
        wal = records["wal_id"].copy()
        place = places_of(records).copy()
        version = np.ascontiguousarray(records["structure_version"])
        commit_us = np.ascontiguousarray(records["commit_us"])
        same_version = bool((version == self._version).all())
        plain = int(wal.min()) >= 1 and not int(np.bitwise_or.reduce(place)) & _UNUSUAL
        if plain and (same_version or int(version.min()) >= 0):
            self._feed_times(first, None, commit_us)
            if not same_version or self._version_breaks != self._breaks:
                self._feed_versions(first, None, version, None, None)
            self._last_valid = first + len(records) - 1
            return first, None, wal, place, self._breaks
        return self._feed_mixed(first, wal, place, version, commit_us)

    def finish(self, last: int, missing: tuple[tuple[int, int], ...] = ()) -> LogCheck:
        """Return what was found; `missing` are ranges of transactions that no file has bytes for."""
        return LogCheck(
            first=self._first,
            last=last,
            checked=self._checked,
            structure_version=self._version,
            last_valid=self._last_valid,
            wals=self._references.last_references(),
            repeated=self._references.repeated.ranges(),
            order=self._references.order.ranges(),
            gap=self._references.gap.ranges(),
            missing=missing,
            **{name: collector.ranges() for name, collector in self._found.items()},
        )

    def _feed_mixed(
        self,
        first: int,
        wal: NDArray[np.int32],
        place: NDArray[np.int64],
        version: NDArray[np.int64],
        commit_us: NDArray[np.int64],
    ) -> _References:
        """Sort out the records that are no plain references to a segment, then check each kind; return those left."""
        segment, txn = segment_of(place), txn_of(place)
        data, change, dropped = record_kinds(wal, segment, txn)
        nothing = wal == 0
        zeroed = nothing & (segment == 0) & (txn == 0) & (version == 0) & (commit_us == 0)
        valid = (data | change | dropped) & ((version >= 0) | dropped)
        for name, mask in (
            ("zeroed", zeroed),
            ("wal_zero", nothing & ~zeroed),
            ("invalid", ~valid & ~nothing),
            ("dropped", dropped),
            ("structure_changes", change & valid),
        ):
            self._found[name].add(first + np.flatnonzero(mask))
        breaks = self._breaks + np.cumsum(~valid)
        at = np.flatnonzero(valid)
        self._feed_times(first, at, commit_us[at])
        at = np.flatnonzero(valid & ~dropped)
        self._feed_versions(first, at, version[at], change[at], breaks[at])
        self._breaks = int(breaks[-1])
        if valid.any():
            self._last_valid = first + int(np.flatnonzero(valid)[-1])
        at = np.flatnonzero(valid & data)
        return first, at, wal[at], place[at], breaks[at]

    def _feed_times(self, first: int, at: NDArray[np.int64] | None, commit_us: NDArray[np.int64]) -> None:
        if not len(commit_us):
            return
        falls = commit_us[0] < self._commit_us or (commit_us[1:] < commit_us[:-1]).any()
        if (commit_us[0] <= 0 or falls) and int(commit_us.min()) <= 0:
            self._add("time_missing", first, at, commit_us <= 0)
        if falls:
            before = np.concatenate([[self._commit_us], commit_us[:-1]])
            self._add("time_backwards", first, at, (commit_us < before) & (commit_us > 0))
        self._commit_us = int(commit_us[-1])

    def _feed_versions(
        self,
        first: int,
        at: NDArray[np.int64] | None,
        version: NDArray[np.int64],
        change: NDArray[np.bool_] | None,
        breaks: NDArray[np.int64] | None,
    ) -> None:
        if not len(version):
            return
        before = np.concatenate([[self._version], version[:-1]])
        breaks = np.full(len(version), self._breaks) if breaks is None else breaks
        certain = np.concatenate([[self._version_breaks], breaks[:-1]]) == breaks
        steps = version - before
        expected = 0 if change is None else change
        self._add("structure_regress", first, at, steps < 0)
        self._add("structure_step", first, at, (steps >= 0) & (steps != expected) & certain)
        self._version, self._version_breaks = int(version[-1]), int(breaks[-1])

    def _add(self, name: str, first: int, at: NDArray[np.int64] | None, mask: NDArray[np.bool_]) -> None:
        """Note the positions of `mask`, which is over the records at `at` (all of them where None)."""
        places = np.flatnonzero(mask)
        self._found[name].add(first + (places if at is None else at[places]))
