"""Which transaction each event on disk was: what several sources say, put together, the strongest first.

A source is a log (live or a copy), or the server's own log lines. Sources that contradict a stronger one are left out
whole, and named in the plan: half a contradiction is no evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from console.table.inventory import Index, Inventory, Mask
from console.table.log_order import address_of
from console.table.log_scan import LogScan, lost_rows
from console.table.txn_set import TxnSet


@dataclass(frozen=True, slots=True)
class Changes:
    """Structure changes whose transaction is known: ascending `seq`, the `version` each leads to, its commit time."""

    seq: Index
    version: Index
    commit_us: Index

    @classmethod
    def none(cls) -> "Changes":
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty)


@dataclass(frozen=True, slots=True)
class Names:
    """Per event its transaction (`seq`, 0: not known) and commit time (µs, 0: not known).

    `recorded` are the transactions that some source names; `changes_applied` counts the structure changes among those
    up to the `applied` one, None if it is not known. `lost` are those above it whose event is not on disk. `again`
    has for an event that is named as applied a later transaction, which names it too (0: none): the event is new if its
    WAL was made anew. `scans` are those of the logs `used`.
    """

    seq: Index
    again: Index
    commit_us: Index
    changes: Changes
    applied: int
    recorded: TxnSet
    changes_applied: int | None
    lost: TxnSet
    used: tuple[str, ...]
    left_out: tuple[str, ...]
    scans: tuple[LogScan, ...]

    @property
    def complete(self) -> bool:
        return not self.holes_after(0)

    def holes_after(self, seq: int) -> int:
        """Return how many transactions above `seq`, up to the applied one, no source tells of."""
        return max(0, self.applied - seq) - self.recorded.count(seq + 1, self.applied)

    def where_new(self, new: Mask) -> "Names":
        """Return these, where those of the masked events that are named again are what the later transaction names."""
        new = new & (self.again != 0)
        recorded = self.recorded | TxnSet(np.unique(self.again[new & (self.again > 0)]))
        return (
            replace(self, seq=np.where(new, np.maximum(self.again, 0), self.seq), recorded=recorded)
            if new.any()
            else self
        )

    def lost_rows(self) -> int | None:
        """Return the rows of the `lost` transactions, each counted once; None where not all V2 records say them."""
        total, before = 0, TxnSet()
        for scan in self.scans:
            try:
                rows = lost_rows(scan, scan.lost - before)
            except OSError:
                rows = None
            if rows is None:
                return None
            total, before = total + rows, before | scan.lost
        return total


_FIELDS: Final = ("seq", "version", "commit_us")


@dataclass(frozen=True, slots=True)
class CommitLines:
    """Commits that the server's log tells of: parallel arrays; structure changes have wal -1."""

    seq: Index
    wal: Index
    segment: Index
    txn: Index


def put_together(
    inventory: Inventory,
    applied: int,
    logs: Sequence[tuple[str, LogScan]],
    lines: CommitLines | None = None,
    lines_name: str = "the server's log",
    *,
    first_as_it_is: bool = False,
) -> Names:
    """Return what `logs` (strongest first) and `lines` name together.

    live log    1 2 3 . . 6
    copy        1 2 3 4 . .    agrees where both know: it adds 4, and 5 stays a hole
    old copy    1 2 9 . 5 .    its third is another event: it is left out whole, with its 5

    `first_as_it_is`: the first log counts also if its records are not in the order of their WALs.
    """
    count = len(inventory)
    seq, commit, again = (np.zeros(count, np.int64) for _ in range(3))
    used: list[str] = []
    scans: list[LogScan] = []
    left_out: list[str] = []
    changes: list[Changes] = []
    lost, recorded = TxnSet(), TxnSet()
    counted: list[tuple[TxnSet, int]] = []  # what a source tells of up to the applied transaction, and its changes
    for name, scan in logs:
        anew = _named_again(inventory, scan)
        settled, theirs = (np.where((again != 0) | (anew != 0), 0, each) for each in (seq, scan.seq))
        if not (first_as_it_is and not used) and not _agrees(inventory, settled, theirs):
            left_out.append(f"{name} contradicts a stronger source about the order of transactions")
            continue
        new = (seq == 0) & (scan.seq > 0)
        seq[new] = scan.seq[new]
        named = scan.named.at(scan.believed)
        commit[named.event] = np.where(commit[named.event] > 0, commit[named.event], named.commit_us)
        changed = scan.changes.at(scan.changes.ok)
        changes.append(Changes(changed.number, changed.version, changed.commit_us))
        again = np.where(again != 0, again, anew)
        lost |= scan.lost
        recorded |= scan.recorded
        counted.append((scan.recorded.within(1, applied), scan.structure_below))
        used.append(name)
        scans.append(scan)
    if lines is not None and len(lines.seq):
        by_lines = _from_lines(inventory, lines)
        if _agrees(inventory, np.where(again != 0, 0, seq), by_lines):
            new = (seq == 0) & (by_lines > 0)
            if new.any():
                used.append(lines_name)
            seq[new] = by_lines[new]
            listed = TxnSet(np.unique(lines.seq))
            recorded |= listed
            altered = len(np.unique(lines.seq[(lines.seq <= applied) & (lines.wal < 0)]))
            counted.append((listed.within(1, applied), altered))
        else:
            left_out.append(f"{lines_name} contradicts a stronger source about the order of transactions")
    known = recorded.within(1, applied)
    return Names(
        seq=seq,
        again=again,
        commit_us=commit,
        changes=_joined(changes),
        applied=applied,
        recorded=recorded,
        # Only a source that tells of all that any tells of has counted all their structure changes.
        changes_applied=next((count for theirs, count in counted if theirs == known), None if known else 0),
        lost=lost,
        used=tuple(used),
        left_out=tuple(left_out),
        scans=tuple(scans),
    )


def uncommitted(inventory: Inventory, names: Names) -> Mask:
    """Return the events that the header of their `_event` does not count, and that no name shows to be committed.

    A name of a later one does, too: a writer commits in the order of its events.
    """
    found = inventory.events["beyond"].copy()
    for _, _, low, high in inventory.slices() if found.any() else ():
        named = np.flatnonzero(names.seq[low:high] > 0)
        found[low : low + int(named[-1]) + 1 if len(named) else low] = False
    return np.asarray(found)


def _named_again(inventory: Inventory, scan: LogScan) -> Index:
    """Return per event the replay of it if it may be a new one, in a WAL with the id of an old one (0: it is not).

    A sequencer that lost its `_wal_index.d` gives out ids again. A new WAL begins with its first transaction, and has
    none on disk that only a record of the old one names. -1: such a record names it, but no replay.

        record     1        2        3        | 4        5        | 6              applied are 1 to 5
        names      wal1/0/0 wal1/0/1 wal1/0/2 | wal1/0/0 wal1/0/1 | wal1/0/2       the new one is not
    """
    again = np.zeros(len(inventory), np.int64)
    replays = scan.named.at(scan.replayed)
    again[replays.event] = replays.number
    lost = scan.unnamed - int((again > 0).sum())
    below = np.where(scan.seq <= scan.applied, scan.seq, 0)
    for _, first, stop in inventory.by_wal():
        mine, seq = again[first:stop], below[first:stop]
        old = (seq > 0) & ((seq < np.maximum.accumulate(seq)) | bool(mine[0]))
        begins = not int(address_of(inventory.events[first : first + 1])[0])
        if not begins or int((old & (mine == 0)).sum()) > lost:
            mine[:] = 0
        else:
            mine[~old] = 0
            mine[old & (mine == 0)] = -1
    return again


def _joined(parts: list[Changes]) -> Changes:
    """Return the changes of all `parts`; of one transaction the first tells."""
    joined = [np.concatenate([getattr(part, name) for part in [Changes.none(), *parts]]) for name in _FIELDS]
    _, first = np.unique(joined[0], return_index=True)
    return Changes(*(each[first] for each in joined))


def _from_lines(inventory: Inventory, lines: CommitLines) -> Index:
    recorded = np.zeros(len(inventory), np.int64)
    event = inventory.locate(lines.wal, lines.segment, lines.txn)
    found = event >= 0
    recorded[event[found]] = lines.seq[found]
    return recorded


def _agrees(inventory: Inventory, seq: Index, other: Index) -> bool:
    """Return whether `other` fits `seq`: equal where both know, no transaction twice, rising within each WAL."""
    both = (seq > 0) & (other > 0)
    if (seq[both] != other[both]).any():
        return False
    joined = np.where(seq > 0, seq, other)
    numbers = joined[joined > 0]
    if len(np.unique(numbers)) != len(numbers):
        return False
    for _, first, stop in inventory.by_wal():
        mine = joined[first:stop]
        if (np.diff(mine[mine > 0]) <= 0).any():
            return False
    return True
