"""Which transaction each event on disk was: what several sources say, put together, the strongest first.

A source is a log (live or a copy), or the server's own log lines. Sources that contradict a stronger one are left out
whole, and said to be: half a contradiction is no evidence.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from console.table.inventory import Index, Inventory
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
        """Return no changes."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty)


@dataclass(frozen=True, slots=True)
class Names:
    """Per event its transaction (`seq`, 0: not known) and commit time (µs, 0: not known).

    `told` are the transactions that some source tells of; `changes_applied` counts the structure changes among those up
    to the `applied` one, None where it cannot be told. `lost` are those above it whose event is not on disk, and
    `lost_rows` their rows: None where not all V2 records say them.
    """

    seq: Index
    commit_us: Index
    changes: Changes
    applied: int
    told: TxnSet
    changes_applied: int | None
    lost: TxnSet
    lost_rows: int | None
    used: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every transaction up to the applied one is told of."""
        return not self.holes_after(0)

    def holes_after(self, seq: int) -> int:
        """Return how many transactions above `seq`, up to the applied one, no source tells of."""
        return max(0, self.applied - seq) - self.told.count(seq + 1, self.applied)


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
    logs: list[tuple[str, LogScan]],
    lines: CommitLines | None = None,
    lines_name: str = "the server's log",
) -> Names:
    """Return what `logs` (strongest first) and `lines` name together.

    live log    1 2 3 . . 6
    copy        1 2 3 4 . .    agrees where both know: it adds 4, and 5 stays a hole
    old copy    1 2 9 . 5 .    its third is another event: it is left out whole, with its 5
    """
    count = len(inventory)
    seq, commit = np.zeros(count, np.int64), np.zeros(count, np.int64)
    used: list[str] = []
    left_out: list[str] = []
    changes: list[Changes] = []
    lost, rows = TxnSet(), RowsTold()
    told = TxnSet()
    counted: list[tuple[TxnSet, int]] = []  # what a source tells of up to the applied transaction, and its changes
    for name, scan in logs:
        if not _agrees(inventory, seq, scan.seq):
            left_out.append(f"{name} contradicts a stronger source about the order of transactions")
            continue
        new = (seq == 0) & (scan.seq > 0)
        seq[new] = scan.seq[new]
        named = scan.named.at(scan.believed)
        commit[named.event] = np.where(commit[named.event] > 0, commit[named.event], named.commit_us)
        theirs = scan.changes.at(scan.changes.ok)
        changes.append(Changes(theirs.number, theirs.version, theirs.commit_us))
        rows.add(scan, lost)
        lost |= scan.lost
        told |= scan.told
        counted.append((scan.told.within(1, applied), scan.structure_below))
        used.append(name)
    if lines is not None and len(lines.seq):
        by_lines = _from_lines(inventory, lines)
        if _agrees(inventory, seq, by_lines):
            new = (seq == 0) & (by_lines > 0)
            if new.any():
                used.append(lines_name)
            seq[new] = by_lines[new]
            theirs_told = TxnSet(np.unique(lines.seq))
            told |= theirs_told
            changed = len(np.unique(lines.seq[(lines.seq <= applied) & (lines.wal < 0)]))
            counted.append((theirs_told.within(1, applied), changed))
        else:
            left_out.append(f"{lines_name} contradicts a stronger source about the order of transactions")
    known = told.within(1, applied)
    return Names(
        seq=seq,
        commit_us=commit,
        changes=_joined(changes),
        applied=applied,
        told=told,
        # Only a source that tells of all that any tells of has counted all their structure changes.
        changes_applied=next((count for theirs, count in counted if theirs == known), None if known else 0),
        lost=lost,
        lost_rows=rows.total,
        used=tuple(used),
        left_out=tuple(left_out),
    )


class RowsTold:
    """Sums up the rows of lost transactions over several logs, each transaction once; None once a log does not say."""

    def __init__(self) -> None:
        self.total: int | None = 0

    def add(self, scan: LogScan, before: TxnSet) -> None:
        """Add what `scan` has lost and no log `before` had."""
        if self.total is None:
            return
        try:
            rows = lost_rows(scan, scan.lost - before)
        except OSError:
            rows = None
        self.total = None if rows is None else self.total + rows


def _joined(parts: list[Changes]) -> Changes:
    """Return the changes of all `parts`; of one transaction the first tells."""
    joined = [np.concatenate([getattr(part, name) for part in [Changes.none(), *parts]]) for name in _FIELDS]
    _, first = np.unique(joined[0], return_index=True)
    return Changes(*(each[first] for each in joined))


def _from_lines(inventory: Inventory, lines: CommitLines) -> Index:
    told = np.zeros(len(inventory), np.int64)
    event = inventory.locate(lines.wal, lines.segment, lines.txn)
    found = event >= 0
    told[event[found]] = lines.seq[found]
    return told


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
