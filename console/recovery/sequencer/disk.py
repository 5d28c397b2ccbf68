"""Reading a table as the reconstruction needs it: applied state, inventory of WAL segments, every copy of the log."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from console.errors import WalmedicError
from console.questdb.layout import TableDirectory
from console.questdb.reading import Problem
from console.questdb.segment import Segment
from console.questdb.sequencer_metadata import SequencerMetadata, read_sequencer_metadata
from console.questdb.structure_log import StructureLog, read_structure_log
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_name import SEQUENCER
from console.questdb.table_txn import TableTxn, TxnArea, read_table_txn
from console.questdb.todo import metadata_in_force
from console.questdb.txn_log import TxnLog, read_log
from console.questdb.wal_index import WalIndex, read_wal_index
from console.recovery.guard.mirror import is_whole
from console.table.belonging import OWN, Verdict
from console.table.inventory import Inventory, lost_places, read_inventory
from console.table.log_parts import with_parts
from console.table.log_scan import LogScan, scan_log
from console.table.names import Names, put_together
from console.table.unseen import Unseen, unseen_wal
from console.table.wal_origin import NO_ORIGINS, Origins, read_origins, structure_version

LIVE: Final = SEQUENCER


class TableUnreadableError(WalmedicError):
    """The table's own `_txn` or `_meta` cannot be read, so nothing about its sequencer can be computed.

    `action` is the one that repairs the file.
    """

    def __init__(self, reason: str, action: str) -> None:
        super().__init__(reason)
        self.action = action


@dataclass(frozen=True)
class TableOnDisk:
    """One table: what is applied, its columns, its WAL segments, and what of these was not read.

    WALs that are known to be another table's, or of an earlier life, are in `origins` and not in the inventory.
    """

    directory: TableDirectory
    txn_file: TableTxn
    metadata: TableMetadata
    inventory: Inventory
    unseen: tuple[Unseen, ...]
    origins: Origins = NO_ORIGINS

    @property
    def txn(self) -> TxnArea:
        if self.txn_file.current is None:
            raise TableUnreadableError(f"{self.directory.directory}/_txn holds no state", "repair-table-state")
        return self.txn_file.current

    @property
    def segments(self) -> Mapping[tuple[int, int], Segment]:
        """The segments by (wal, segment)."""
        return self.inventory.segments

    @property
    def highest_wal(self) -> int:
        """The highest id of the WAL directories on disk, the table's own or not: a writer must not take it again."""
        return max([*self.inventory.wals, *self.origins.wals], default=0)

    @property
    def path(self) -> Path:
        return self.directory.path

    @property
    def applied(self) -> int:
        """The last applied transaction, as the server finds it that starts next: `_txn` seqTxn plus the lag's."""
        return self.txn.applied_at_start

    @property
    def structure(self) -> int:
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
    verdict: Verdict = OWN

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
            f"{directory.directory}/_txn cannot be read ({reason}); without it nobody knows what is applied",
            "repair-table-state",
        )
    metadata = metadata_in_force(directory.path, txn.current)
    if isinstance(metadata, Problem):
        raise TableUnreadableError(f"{directory.directory}/_meta cannot be read ({metadata.what})", "repair-metadata")
    if metadata.unusable:
        raise TableUnreadableError(f"{directory.directory}/_meta: {metadata.unusable}", "repair-metadata")
    return table_with(directory, txn, metadata)


def table_with(directory: TableDirectory, txn: TableTxn, metadata: TableMetadata) -> TableOnDisk:
    """Return the table with all its segments, in the state that `txn` has. Raises TableUnreadableError if it has none.

    For a table whose own `_txn` is damaged, and what may have been in it is tried.
    """
    if txn.current is None:
        raise TableUnreadableError(f"{directory.directory}/_txn holds no state", "repair-table-state")
    entries, _ = directory.listing()
    origins = read_origins(directory, metadata, structure_version(metadata, txn.current), entries, mirrors=True)
    own = [wal for wal in directory.wals(entries) if wal.id not in origins.left_out]
    mirrors = [each for each in directory.guard_mirrors() if origins.log(each.name).own]
    inventory = read_inventory(own, lost=lost_places(directory, own, entries), mirrors=lambda: mirrors)
    unseen = unseen_wal(directory.path, inventory, directory.listing_problems(entries))
    return TableOnDisk(directory, txn, metadata, inventory, unseen, origins)


def read_sources(table: TableOnDisk) -> tuple[LogSource, ...]:
    """Return the live sequencer (if its directory is there), every copy in the table's directory, and the guard's."""
    found = [table.directory.sequencer] if table.directory.sequencer.is_dir() else []
    found += [path for path in table.directory.sequencer_backups() if not path.is_symlink()]
    found += [path for path in table.directory.guard_mirrors() if is_whole(path)]
    return tuple(read_source(table, path) for path in found)


def own_names(table: TableOnDisk) -> Names:
    """Return which transaction each event of the inventory is, by all logs that are the table's own."""
    sources = [each for each in read_sources(table) if each.verdict.own]
    return put_together(table.inventory, 0, [(each.name, each.scan) for each in sources if each.scan is not None])


def read_source(table: TableOnDisk, path: Path) -> LogSource:
    """Return one sequencer directory, its log scanned against the table's segments."""
    log = with_parts(read_log(path), path)
    return LogSource(
        name=path.name,
        path=path,
        log=log,
        scan=scan_log(log, table.inventory, table.applied, dedup=table.metadata.has_dedup),
        metadata=read_sequencer_metadata(path),
        wal_index=read_wal_index(path),
        changes=read_structure_log(path),
        verdict=table.origins.log(path.name),
    )
