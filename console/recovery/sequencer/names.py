"""Which transaction each event on disk was: what several sources say, put together, the strongest first.

A source is a log (live or a copy), or the server's own log lines. Sources that contradict a stronger one are left out
whole, and said to be: half a contradiction is no evidence.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from console.recovery.sequencer.inventory import Index, Inventory
from console.recovery.sequencer.log_scan import LogScan


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

    `known_applied` counts the transactions up to the applied one that some source names, on disk or not;
    `changes_applied` those of them that are structure changes. `complete`: one source names all of them. `lost` are
    transactions above applied whose event is not on disk, with their rows where a V2 record says them (else -1).
    """

    seq: Index
    commit_us: Index
    changes: Changes
    known_applied: int
    changes_applied: int
    complete: bool
    lost_seq: Index
    lost_rows: Index
    used: tuple[str, ...]
    left_out: tuple[str, ...]


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
    """Return what `logs` (strongest first) and `lines` say together."""
    count = len(inventory)
    seq, commit = np.zeros(count, np.int64), np.zeros(count, np.int64)
    used: list[str] = []
    left_out: list[str] = []
    changes: dict[int, tuple[int, int]] = {}
    lost: dict[int, int] = {}
    known = changes_below = 0
    complete = False
    for name, scan in logs:
        if not _agrees(inventory, seq, scan.seq):
            left_out.append(f"{name} contradicts a stronger source about the order of transactions")
            continue
        new = (seq == 0) & (scan.seq > 0)
        seq[new] = scan.seq[new]
        on_disk = scan.tail_event >= 0
        commit[scan.tail_event[on_disk]] = np.where(
            commit[scan.tail_event[on_disk]] > 0, commit[scan.tail_event[on_disk]], scan.tail["commit_us"][on_disk]
        )
        for number, record in _changes(scan):
            changes.setdefault(number, (int(record["structure_version"]), int(record["commit_us"])))
        for number, record in zip(scan.tail_seq[scan.lost].tolist(), scan.tail[scan.lost], strict=True):
            lost.setdefault(number, int(record["row_count"]) or -1)
        if scan.named_below > known:
            known, changes_below = scan.named_below, scan.structure_below
        complete |= scan.covers_applied
        used.append(name)
    if lines is not None and len(lines.seq):
        told = _from_lines(inventory, lines)
        if _agrees(inventory, seq, told):
            new = (seq == 0) & (told > 0)
            if new.any():
                used.append(lines_name)
            seq[new] = told[new]
            below = np.unique(lines.seq[lines.seq <= applied])
            structure = np.unique(lines.seq[(lines.seq <= applied) & (lines.wal < 0)])
            if len(below) > known:
                known, changes_below = len(below), len(structure)
            complete |= len(below) == applied
        else:
            left_out.append(f"{lines_name} contradicts a stronger source about the order of transactions")
    numbers = np.array(sorted(changes), np.int64)
    return Names(
        seq=seq,
        commit_us=commit,
        changes=Changes(
            numbers,
            np.array([changes[n][0] for n in numbers.tolist()], np.int64),
            np.array([changes[n][1] for n in numbers.tolist()], np.int64),
        ),
        known_applied=known,
        changes_applied=changes_below,
        complete=complete,
        lost_seq=np.array(sorted(lost), np.int64),
        lost_rows=np.array([lost[n] for n in sorted(lost)], np.int64),
        used=tuple(used),
        left_out=tuple(left_out),
    )


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
    for _, first, stop in inventory.slices():
        mine = joined[first:stop]
        if (np.diff(mine[mine > 0]) <= 0).any():
            return False
    return True
