"""Reading a table as the reconstruction needs it: applied state, inventory of WAL segments, every copy of the log."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from console.errors import WalmedicError
from console.questdb.layout import SEQUENCER, TableDirectory
from console.questdb.reading import Problem, list_directory
from console.questdb.segment import Segment, is_data, read_segment
from console.questdb.sequencer_metadata import SequencerMetadata, read_sequencer_metadata
from console.questdb.structure_log import StructureLog, read_structure_log
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_txn import TxnArea, read_table_txn
from console.questdb.txn_log import RECORD_V2_SIZE, LogHeader, LogPart, LogState, TxnLog, read_log
from console.questdb.wal_index import WalIndex, read_wal_index
from console.recovery.sequencer.inventory import EVENT, Inventory
from console.recovery.sequencer.log_scan import LogScan, scan_log

LIVE: Final = SEQUENCER


class TableUnreadableError(WalmedicError):
    """The table's own `_txn` or `_meta` cannot be read, so nothing about its sequencer can be computed."""


@dataclass(frozen=True)
class TableOnDisk:
    """One table: what is applied (`txn`), its columns, and its WAL segments. `segments` by (wal, segment)."""

    directory: TableDirectory
    txn: TxnArea
    metadata: TableMetadata
    segments: dict[tuple[int, int], Segment]
    inventory: Inventory

    @property
    def path(self) -> Path:
        """The table's directory."""
        return self.directory.path

    @property
    def applied(self) -> int:
        """The last applied transaction: `_txn` seqTxn plus the lag's."""
        return self.txn.applied_txn

    @property
    def structure(self) -> int:
        """The structure version that the table has reached."""
        return self.txn.structure_version


@dataclass(frozen=True)
class LogSource:
    """A sequencer directory, live or a copy: `name` is its name in the table's directory."""

    name: str
    path: Path
    log: TxnLog
    scan: LogScan | None
    metadata: SequencerMetadata | Problem
    wal_index: WalIndex
    changes: StructureLog
    entries: tuple[str, ...]

    @property
    def live(self) -> bool:
        """Whether it is the table's own, not a copy."""
        return self.name == LIVE

    @property
    def usable(self) -> bool:
        """Whether its log has a header that a server can open."""
        return self.scan is not None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its `_txnlog`, empty where there is none."""
        try:
            with self.log.path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError:
            return ""


def read_table(directory: TableDirectory) -> TableOnDisk:
    """Return the table with all its segments. Raises TableUnreadableError where `_txn` or `_meta` is no such file."""
    txn = read_table_txn(directory.path)
    if txn.current is None:
        reason = txn.problems[0].what if txn.problems else "it holds no state"
        raise TableUnreadableError(
            f"{directory.directory}/_txn cannot be read ({reason}); without it nobody knows what is applied"
        )
    metadata = read_table_metadata(directory.path)
    if isinstance(metadata, Problem):
        raise TableUnreadableError(f"{directory.directory}/_meta cannot be read ({metadata.what})")
    segments = {
        (wal.id, number): read_segment(wal.segment(number)) for wal in directory.wals() for number in wal.segments
    }
    return TableOnDisk(directory, txn.current, metadata, segments, _inventory(directory, segments))


def read_sources(table: TableOnDisk) -> tuple[LogSource, ...]:
    """Return the live sequencer (if its directory is there) and every copy in the table's directory, by name."""
    found = [table.directory.sequencer] if table.directory.sequencer.is_dir() else []
    found += [path for path in table.directory.sequencer_backups() if not path.is_symlink()]
    return tuple(read_source(table, path) for path in found)


def read_source(table: TableOnDisk, path: Path) -> LogSource:
    """Return one sequencer directory, its log scanned against the table's segments."""
    log = _with_parts(read_log(path), path)
    try:
        scan = scan_log(log, table.inventory, table.applied)
    except OSError:
        scan = None
    entries, _ = list_directory(path)
    return LogSource(
        name=path.name,
        path=path,
        log=log,
        scan=scan,
        metadata=read_sequencer_metadata(path),
        wal_index=read_wal_index(path),
        changes=read_structure_log(path),
        entries=tuple(entry.name for entry in entries if entry.is_file),
    )


def _inventory(directory: TableDirectory, segments: dict[tuple[int, int], Segment]) -> Inventory:
    parts = []
    broken = []
    for (wal, number), segment in segments.items():
        if segment.max_txn is None or not segment.whole:
            reason = segment.problems[0].what if segment.problems else "its records do not reach its last transaction"
            broken.append((wal, number, reason))
        parts.append(_events(segment, wal, number))
    events = np.concatenate(parts) if parts else np.empty(0, EVENT)
    return Inventory.of(events, segments=tuple(segments), wals=[wal.id for wal in directory.wals()], broken=broken)


def _events(segment: Segment, wal: int, number: int) -> NDArray[Any]:
    """Return the segment's transactions up to the first that cannot be decoded: behind it nothing can be applied."""
    bad = np.flatnonzero(segment.events["type"] < 0)
    raw = segment.events[: int(bad[0])] if len(bad) else segment.events
    events = np.zeros(len(raw), EVENT)
    events["wal"], events["segment"] = wal, number
    events["txn"], events["type"], events["mode"] = raw["txn"], raw["type"], raw["dedup_mode"]
    data = is_data(raw)
    for name, source in (("start", "start_row"), ("end", "end_row"), ("min_ts", "min_ts"), ("max_ts", "max_ts")):
        events[name] = np.where(data, raw[source], 0)
    events["structure"] = segment.metadata.structure_version if segment.metadata else 0
    events["written_us"] = segment.stamp.mtime_ns // 1000 if segment.stamp else 0
    return events


def _with_parts(log: TxnLog, path: Path) -> TxnLog:
    """Return a log whose `_txnlog` is lost but whose V2 parts are there as one with a header that names them all.

    A part is preallocated, so that its length tells the records per part; zeros behind the last are not believed.
    """
    damaged = not log.readable or (log.header is not None and log.header.all_zero)
    if not damaged or not (path / "_txn_parts").is_dir():
        return log
    entries, _ = list_directory(path / "_txn_parts")
    parts = tuple(
        sorted(
            (LogPart(int(e.name), e.path, e.path.lstat().st_size) for e in entries if e.is_file and e.name.isdecimal()),
            key=lambda part: part.index,
        )
    )
    size = max((part.size for part in parts), default=0)
    if not size or size % RECORD_V2_SIZE or any(part.size != size for part in parts):
        return log
    header = LogHeader(1, 0, 0, size // RECORD_V2_SIZE, True, False)
    return TxnLog(log.path, LogState.PRESENT, header, log.file_size, log.stamp, parts, log.problems)
