"""Which transaction each event on disk was: what several sources say, put together, the strongest first.

A source is a log (live or a copy), or the server's own log lines. Sources that contradict a stronger one are left out
whole, and said to be: half a contradiction is no evidence.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from console.table.believed_records import LogScan, Runs
from console.table.inventory import Index, Inventory


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

    `holes` are the runs up to the applied transaction that no source tells anything of; `changes_applied` counts the
    structure changes among the others, None where it cannot be told. `told_above` are all transactions above applied
    that some source tells of. `lost` are those of them whose event is not on disk, with their rows where a V2 record
    says them (else -1).
    """

    seq: Index
    commit_us: Index
    changes: Changes
    holes: Runs
    changes_applied: int | None
    told_above: Index
    lost_seq: Index
    lost_rows: Index
    used: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every transaction up to the applied one is told of."""
        return not self.holes

    def holes_after(self, seq: int) -> int:
        """Return how many transactions above `seq`, up to the applied one, no source tells of."""
        return sum(max(0, last - max(first, seq + 1) + 1) for first, last in self.holes)


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
    changes: dict[int, tuple[int, int]] = {}
    lost: dict[int, int] = {}
    told: list[Runs] = []
    above: list[Index] = []
    changes_below: list[tuple[Runs, int]] = []
    for name, scan in logs:
        if not _agrees(inventory, seq, scan.seq):
            left_out.append(f"{name} contradicts a stronger source about the order of transactions")
            continue
        new = (seq == 0) & (scan.seq > 0)
        seq[new] = scan.seq[new]
        on_disk = scan.tail_event >= 0
        mine = scan.tail_event[on_disk]
        commit[mine] = np.where(commit[mine] > 0, commit[mine], scan.tail["commit_us"][on_disk])
        for number, record in _changes(scan):
            changes.setdefault(number, (int(record["structure_version"]), int(record["commit_us"])))
        for number, record in zip(scan.tail_seq[scan.lost].tolist(), scan.tail[scan.lost], strict=True):
            lost.setdefault(number, int(record["row_count"]) or -1)
        told.append(_clipped(scan.filled, applied))
        above.append(scan.tail_seq)
        changes_below.append((told[-1], scan.structure_below))
        used.append(name)
    if lines is not None and len(lines.seq):
        by_lines = _from_lines(inventory, lines)
        if _agrees(inventory, seq, by_lines):
            new = (seq == 0) & (by_lines > 0)
            if new.any():
                used.append(lines_name)
            seq[new] = by_lines[new]
            below = np.unique(lines.seq[lines.seq <= applied])
            told.append(runs_of(below))
            above.append(lines.seq[lines.seq > applied])
            changes_below.append((told[-1], len(np.unique(lines.seq[(lines.seq <= applied) & (lines.wal < 0)]))))
        else:
            left_out.append(f"{lines_name} contradicts a stronger source about the order of transactions")
    numbers = np.array(sorted(changes), np.int64)
    known = _union(told)
    return Names(
        seq=seq,
        commit_us=commit,
        changes=Changes(
            numbers,
            np.array([changes[n][0] for n in numbers.tolist()], np.int64),
            np.array([changes[n][1] for n in numbers.tolist()], np.int64),
        ),
        holes=_complement(known, applied),
        # Only a source that tells of all that any tells of has counted all their structure changes.
        changes_applied=next((count for runs, count in changes_below if runs == known), None if known else 0),
        told_above=np.unique(np.concatenate(above)) if above else np.empty(0, np.int64),
        lost_seq=np.array(sorted(lost), np.int64),
        lost_rows=np.array([lost[n] for n in sorted(lost)], np.int64),
        used=tuple(used),
        left_out=tuple(left_out),
    )


def runs_of(numbers: Index) -> Runs:
    """Return ascending distinct `numbers` as runs."""
    if not len(numbers):
        return ()
    breaks = np.flatnonzero(np.diff(numbers) > 1)
    firsts = np.concatenate((numbers[:1], numbers[breaks + 1]))
    lasts = np.concatenate((numbers[breaks], numbers[-1:]))
    return tuple(zip(firsts.tolist(), lasts.tolist(), strict=True))


def _clipped(runs: Runs, top: int) -> Runs:
    return tuple((first, min(last, top)) for first, last in runs if first <= top)


def _union(groups: list[Runs]) -> Runs:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(run for runs in groups for run in runs):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def _complement(runs: Runs, top: int) -> Runs:
    holes: list[tuple[int, int]] = []
    at = 1
    for first, last in runs:
        if first > at:
            holes.append((at, first - 1))
        at = last + 1
    return tuple(holes) if at > top else (*holes, (at, top))


def _changes(scan: LogScan) -> list[tuple[int, NDArray[Any]]]:
    at = np.flatnonzero(scan.tail["wal_id"] == -1)
    return [(int(scan.tail_seq[i]), scan.tail[i]) for i in at.tolist()]


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
