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
    """What the records of a log show. All positions are transaction ids.

    zeroed: every byte is zero. wal_zero: the wal id is 0, other bytes are not. invalid: a combination of wal id,
    segment and segment transaction that no server writes, or a structure version below 0. structure_regress: a
    structure version lower than before. repeated: the segment transaction that the same wal's record before it named.
    order: segment or segment transaction lower than that.

    `wals` has one row (wal_id, segment_id, segment_txn) per wal, ascending: the last that it is referred to by.
    """

    zeroed: Ranges
    wal_zero: Ranges
    invalid: Ranges
    structure_regress: Ranges
    repeated: Ranges
    order: Ranges
    structure_version: int
    wals: NDArray[np.void]
    missing: tuple[tuple[int, int], ...]

    @property
    def highest_wal(self) -> int:
        """The highest wal id that a valid record names, 0 where none does."""
        return int(self.wals["wal_id"][-1]) if len(self.wals) else 0


_KINDS: Final = ("zeroed", "wal_zero", "invalid", "structure_regress")
_References = tuple[int, NDArray[np.int64] | None, NDArray[np.int32], NDArray[np.int64]]
"""What `WalOrder.feed` takes."""
_UNUSUAL: Final = -(1 << 63) | 0xF0000000  # bits no ordinary segment transaction and segment id have


def _pass(_first: int, _records: NDArray[Any]) -> None:
    """Nobody else wants to see the records."""


class LogChecker:
    """Takes chunks of records in order (`feed`) and says what they show (`finish`)."""

    def __init__(self) -> None:
        self._version = 0
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
        wal = records["wal_id"].copy()
        place = places_of(records).copy()
        version = np.ascontiguousarray(records["structure_version"])
        same_version = bool((version == self._version).all())
        plain = int(wal.min()) >= 1 and not int(np.bitwise_or.reduce(place)) & _UNUSUAL
        if plain and (same_version or int(version.min()) >= 0):
            if not same_version:
                self._feed_versions(first, np.arange(len(version)), version)
            return first, None, wal, place
        return self._feed_mixed(first, wal, place, version, records["commit_us"])

    def finish(self, missing: tuple[tuple[int, int], ...] = ()) -> LogCheck:
        """Return what was found; `missing` are ranges of transactions that no file has bytes for."""
        return LogCheck(
            structure_version=self._version,
            wals=self._references.last_references(),
            repeated=self._references.repeated.ranges(),
            order=self._references.order.ranges(),
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
        self._add("zeroed", first, zeroed)
        self._add("wal_zero", first, nothing & ~zeroed)
        self._add("invalid", first, ~valid & ~nothing)
        at = np.flatnonzero(valid & ~dropped)
        self._feed_versions(first, at, version[at])
        at = np.flatnonzero(valid & data)
        return first, at, wal[at], place[at]

    def _feed_versions(self, first: int, at: NDArray[np.int64], version: NDArray[np.int64]) -> None:
        """Compare the version of each record at `at` with the one before it."""
        if len(version):
            before = np.concatenate([[self._version], version[:-1]])
            self._found["structure_regress"].add(first + at[version < before])
            self._version = int(version[-1])

    def _add(self, name: str, first: int, mask: NDArray[np.bool_]) -> None:
        self._found[name].add(first + np.flatnonzero(mask))
