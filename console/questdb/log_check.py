"""Vectorised check of a sequencer's log: every record decoded, in chunks, with memory that does not grow with the log.

It tells positions only; what they mean for a table is the diagnosis' business (zeroed records below the applied
transaction, for example, are the harmless filler of an earlier repair).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from console.questdb.ranges import RangeCollector, Ranges
from console.questdb.txn_log import MAX_SEGMENT_ID, STRUCTURE_CHANGE, TABLE_DROPPED, TxnLog

_CHUNK: Final = 1 << 15
_MAX_WALS: Final = 1 << 20


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


WAL_STATE: Final = np.dtype([("wal_id", "<i4"), ("segment_id", "<i4"), ("segment_txn", "<i4"), ("breaks", "<i8")])
"""The last reference to each wal; `breaks`: how many records before it could not be understood."""


def check_log(log: TxnLog, *, first: int = 1, last: int | None = None) -> LogCheck:
    """Check the records `first`..`last` (default: the header's maxTxn) so far as the files hold them.

    Above maxTxn it tells which bytes behind the end look like records: `last_valid` is the last that does. Raises
    OSError where a file cannot be read.
    """
    end = (log.max_txn or 0) if last is None else last
    checker = LogChecker(first)
    for at, records in log.chunks(_CHUNK, first=first, last=end):
        checker.feed(at, records)
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
        self._wals = np.empty(0, WAL_STATE)
        self._unseen = 0  # breaks before a wal not seen yet; -1 (no count) once wals had to be forgotten
        self._found = {
            name: RangeCollector()
            for name in (
                "zeroed", "wal_zero", "invalid", "structure_regress", "structure_step", "repeated", "order", "gap",
                "time_missing", "time_backwards", "dropped", "structure_changes",
            )
        }  # fmt: skip

    def feed(self, first: int, records: NDArray[np.void]) -> None:
        """Check `records`, the first of which is transaction `first` (not lower than what came before)."""
        if first != self._next:
            self._breaks += 1
        self._next = first + len(records)
        self._checked += len(records)
        wal = np.ascontiguousarray(records["wal_id"])
        segment = np.ascontiguousarray(records["segment_id"])
        txn = np.ascontiguousarray(records["segment_txn"])
        version = np.ascontiguousarray(records["structure_version"])
        commit_us = np.ascontiguousarray(records["commit_us"])
        plain = (
            int(wal.min()) >= 1
            and int(segment.min()) >= 0
            and int(txn.min()) >= 0
            and int(segment.max()) <= MAX_SEGMENT_ID
            and int(version.min()) >= 0
        )
        if plain:
            self._feed_times(first, None, commit_us)
            self._feed_versions(first, None, version, None, None)
            self._feed_references(first, None, wal, segment, txn, None)
            self._last_valid = first + len(records) - 1
        else:
            self._feed_mixed(first, wal, segment, txn, version, commit_us)

    def finish(self, last: int, missing: tuple[tuple[int, int], ...] = ()) -> LogCheck:
        """Return what was found; `missing` are ranges of transactions that no file has bytes for."""
        return LogCheck(
            first=self._first,
            last=last,
            checked=self._checked,
            structure_version=self._version,
            last_valid=self._last_valid,
            wals=self._wals[["wal_id", "segment_id", "segment_txn"]],
            missing=missing,
            **{name: collector.ranges() for name, collector in self._found.items()},
        )

    def _feed_mixed(
        self,
        first: int,
        wal: NDArray[np.int32],
        segment: NDArray[np.int32],
        txn: NDArray[np.int32],
        version: NDArray[np.int64],
        commit_us: NDArray[np.int64],
    ) -> None:
        """Sort out the records that are no plain references to a segment, then check each kind."""
        data = (wal >= 1) & (segment >= 0) & (segment <= MAX_SEGMENT_ID) & (txn >= 0)
        change = (wal == STRUCTURE_CHANGE) & (segment == -1) & (txn == -1)
        dropped = (wal == TABLE_DROPPED) & (segment == 0) & (txn == 0)
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
        at = np.flatnonzero(valid & data)
        self._feed_references(first, at, wal[at], segment[at], txn[at], breaks[at])
        self._breaks = int(breaks[-1])
        if valid.any():
            self._last_valid = first + int(np.flatnonzero(valid)[-1])

    def _feed_times(self, first: int, at: NDArray[np.int64] | None, commit_us: NDArray[np.int64]) -> None:
        if not len(commit_us):
            return
        if int(commit_us.min()) <= 0:
            self._add("time_missing", first, at, commit_us <= 0)
        before = np.empty_like(commit_us)
        before[0] = self._commit_us
        before[1:] = commit_us[:-1]
        backwards = commit_us < before
        if backwards.any():
            self._add("time_backwards", first, at, backwards & (commit_us > 0))
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
        if change is None and self._version_breaks == self._breaks and (version == self._version).all():
            return
        before = np.concatenate([[self._version], version[:-1]])
        breaks = np.full(len(version), self._breaks) if breaks is None else breaks
        certain = np.concatenate([[self._version_breaks], breaks[:-1]]) == breaks
        steps = version - before
        expected = 0 if change is None else change
        self._add("structure_regress", first, at, steps < 0)
        self._add("structure_step", first, at, (steps >= 0) & (steps != expected) & certain)
        self._version, self._version_breaks = int(version[-1]), int(breaks[-1])

    def _feed_references(
        self,
        first: int,
        at: NDArray[np.int64] | None,
        wal: NDArray[np.int32],
        segment: NDArray[np.int32],
        txn: NDArray[np.int32],
        breaks: NDArray[np.int64] | None,
    ) -> None:
        """Compare each reference with the one before it of the same wal."""
        if not len(wal):
            return
        order, starts = _group(wal)
        if order is not None:
            segment, txn = segment[order], txn[order]
            breaks = None if breaks is None else breaks[order]
        ids = wal[order[starts]] if order is not None else wal[starts]
        carried = self._carried(ids)
        same = np.empty(len(segment), np.bool_)
        np.equal(segment[1:], segment[:-1], out=same[1:])
        steps = np.empty(len(txn), np.int64)
        np.subtract(txn[1:], txn[:-1], out=steps[1:], dtype=np.int64)
        same[starts] = segment[starts] == carried["segment_id"]
        steps[starts] = txn[starts].astype(np.int64) - carried["segment_txn"]
        good = same & (steps == 1)
        if not good.all():
            rest = np.flatnonzero(~good)
            places = rest if order is None else order[rest]
            self._judge(first, at, places, rest, segment, txn, starts, carried, breaks, same[rest], steps[rest])
        ends = np.append(starts[1:], len(segment)) - 1
        state = np.empty(len(ids), WAL_STATE)
        state["wal_id"], state["segment_id"], state["segment_txn"] = ids, segment[ends], txn[ends]
        state["breaks"] = self._breaks if breaks is None else breaks[ends]
        self._keep(state)

    def _judge(
        self,
        first: int,
        at: NDArray[np.int64] | None,
        places: NDArray[np.int64],
        rest: NDArray[np.int64],
        segment: NDArray[np.int32],
        txn: NDArray[np.int32],
        starts: NDArray[np.int64],
        carried: NDArray[np.void],
        breaks: NDArray[np.int64] | None,
        same: NDArray[np.bool_],
        steps: NDArray[np.int64],
    ) -> None:
        """Say of each record at `rest` (grouped order; `places` in the chunk) what is wrong with it, if anything is."""
        group = np.searchsorted(starts, rest)
        is_start = np.zeros(len(rest), np.bool_)
        inside = group < len(starts)
        is_start[inside] = starts[group[inside]] == rest[inside]
        before_segment = np.where(is_start, 0, segment[rest - 1]).astype(np.int64)
        before_segment[is_start] = carried["segment_id"][group[is_start]]
        now = np.full(len(rest), self._breaks) if breaks is None else breaks[rest]
        then = now.copy() if breaks is None else np.where(is_start, 0, breaks[rest - 1])
        then[is_start] = carried["breaks"][group[is_start]]
        newer = segment[rest] > before_segment
        gap = ((same & (steps > 1)) | (newer & (txn[rest] != 0))) & (now == then)
        self._add_places("repeated", first, at, places[same & (steps == 0)])
        self._add_places("order", first, at, places[(same & (steps < 0)) | (segment[rest] < before_segment)])
        self._add_places("gap", first, at, places[gap])

    def _carried(self, ids: NDArray[np.int32]) -> NDArray[np.void]:
        """Return the state of each of `ids`: segment -1, transaction -1 for a wal not seen before."""
        carried = np.empty(len(ids), WAL_STATE)
        carried["wal_id"], carried["segment_id"], carried["segment_txn"], carried["breaks"] = ids, -1, -1, self._unseen
        at = np.searchsorted(self._wals["wal_id"], ids)
        known = at < len(self._wals)
        known[known] = self._wals["wal_id"][at[known]] == ids[known]
        carried[known] = self._wals[at[known]]
        return carried

    def _keep(self, state: NDArray[np.void]) -> None:
        at = np.searchsorted(self._wals["wal_id"], state["wal_id"])
        known = at < len(self._wals)
        known[known] = self._wals["wal_id"][at[known]] == state["wal_id"][known]
        self._wals[at[known]] = state[known]
        if not known.all():
            self._wals = np.insert(self._wals, at[~known], state[~known])
            if len(self._wals) > _MAX_WALS:
                self._wals = self._wals[-_MAX_WALS:].copy()
                self._unseen = -1

    def _add(self, name: str, first: int, at: NDArray[np.int64] | None, mask: NDArray[np.bool_]) -> None:
        """Note the positions of `mask`, which is over the records at `at` (all of them where None)."""
        self._add_places(name, first, at, np.flatnonzero(mask))

    def _add_places(self, name: str, first: int, at: NDArray[np.int64] | None, places: NDArray[np.int64]) -> None:
        if len(places):
            ordered = np.sort(places)
            self._found[name].add(first + (ordered if at is None else at[ordered]))


def _group(wal: NDArray[np.int32]) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Return a stable order by wal (None: it is in order already) and where each wal's group starts in it."""
    moves = np.flatnonzero(wal[1:] != wal[:-1])
    if not len(moves) or (wal[moves + 1] > wal[moves]).all():
        return None, np.concatenate([[0], moves + 1])
    low = int(wal.min())
    if int(wal.max()) - low < 1 << 16:  # numpy sorts 16-bit integers by radix: linear
        order = np.argsort((wal - low).astype(np.uint16), kind="stable")
    else:
        order = np.argsort(wal, kind="stable")
    ordered = wal[order]
    return order, np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])
