"""What of a table is evidence: all that repairs rest on or touch; partitions only where an unapplied row may go."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from console.questdb.layout import TableDirectory
from console.questdb.partitioning import Partitioning
from console.questdb.segment import read_segment
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_txn import TxnArea, read_table_txn

_TABLE_FILES = ("_txn", "_meta", "_cv", "_name", "_todo_", "_convert", "_mv", "_mv.s")
_SYMBOL_FILE = re.compile(r"\.[kvco](\.\d+)?$")  # with the name txn of a column that was added later


@dataclass(frozen=True, slots=True)
class Selected:
    """One regular file, `path` relative to the db directory, `size` in bytes when it was listed."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Selection:
    """What is copied, and what is only listed (path, size, mtime_ns) because no unapplied row touches it."""

    copied: tuple[Selected, ...]
    listed: tuple[tuple[str, int, int], ...]
    skipped: tuple[str, ...]  # links and special files, by path

    @property
    def size(self) -> int:
        return sum(each.size for each in self.copied)


def select(table: TableDirectory, *, whole: bool = False, also: frozenset[str] = frozenset()) -> Selection:
    """Return what of a table is captured: with `whole` all of it, else with the entries `also` of its directory.

    Raises OSError where it cannot be listed.
    """
    touched = touched_partitions(table)
    backups = {path.name for path in table.sequencer_backups()}
    copied: list[Selected] = []
    listed: list[tuple[str, int, int]] = []
    skipped: list[str] = []
    for entry in sorted(os.scandir(table.path), key=lambda e: e.name):
        wanted = (
            whole
            or entry.name in _TABLE_FILES
            or _SYMBOL_FILE.search(entry.name) is not None
            or entry.name.startswith(("txn_seq", "wal", "_"))
            or entry.name in backups
            or entry.name in touched
            or entry.name in also
        )
        for path, status in _files(Path(entry.path)):
            relative = f"{table.directory}/{path.relative_to(table.path)}"
            if not stat.S_ISREG(status.st_mode):
                skipped.append(relative)
            elif wanted:
                copied.append(Selected(relative, status.st_size))
            else:
                listed.append((relative, status.st_size, status.st_mtime_ns))
    return Selection(tuple(copied), tuple(listed), tuple(skipped))


def touched_partitions(table: TableDirectory) -> frozenset[str]:
    """Return the directories of the partitions that a row of any WAL segment on disk may go to.

    Which segment transactions are applied may be unknown, so every segment counts: a superset.
    """
    area, metadata = read_table_txn(table.path).current, read_table_metadata(table.path)
    if area is None or not isinstance(metadata, TableMetadata) or not len(area.partitions):
        return frozenset()
    starts = area.partitions["timestamp"].astype(np.int64)
    marked = np.zeros(len(starts), np.bool_)
    for low, high in _event_ranges(table):
        first = max(0, int(np.searchsorted(starts, low, "right")) - 1)
        last = int(np.searchsorted(starts, high, "right")) - 1
        marked[first : last + 1] = True
    return frozenset(partition_directory(area, metadata, int(index)) for index in np.flatnonzero(marked))


def partition_directory(area: TxnArea, metadata: TableMetadata, index: int) -> str:
    """Return the directory name of a partition; `.nameTxn` where it was rewritten."""
    partition = area.partitions[index]
    return Partitioning.of(metadata).directory(int(partition["timestamp"]), int(partition["name_txn"]))


def _event_ranges(table: TableDirectory) -> Iterator[tuple[int, int]]:
    for wal in table.wals():
        for segment_id in wal.segments:
            segment = read_segment(wal.segment(segment_id))
            events = segment.events[segment.data]
            if len(events):
                yield int(events["min_ts"].min()), int(events["max_ts"].max())


def _files(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        status = path.lstat()
        names = sorted(os.listdir(path)) if stat.S_ISDIR(status.st_mode) else []  # noqa: PTH208 - names only
    except FileNotFoundError:  # a server that lives purges an applied WAL while it is looked at
        return
    if not stat.S_ISDIR(status.st_mode):
        yield path, status
    for name in names:
        yield from _files(path / name)
