"""What one table has on disk, read once; judged elsewhere. Reading is ordered so that a live server does not mislead.

The segments are read before the log and `_txn` after it: a transaction that commits meanwhile then shows as a record
whose event was not read yet (the reading is taken again), never as an event that no record names.
"""

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from console.questdb.conversion import Conversion, read_conversion
from console.questdb.file_owner import FileOwner, owner_of
from console.questdb.layout import TableDirectory
from console.questdb.reading import Problem, join_problems
from console.questdb.sequencer_metadata import SequencerMetadata, read_sequencer_metadata
from console.questdb.structure_log import StructureLog, read_structure_log
from console.questdb.table_metadata import TableMetadata
from console.questdb.table_txn import TableTxn, read_table_txn
from console.questdb.todo import metadata_in_force
from console.questdb.txn_log import LogState, TxnLog, read_log
from console.questdb.wal_index import WalIndex, read_wal_index
from console.table.belonging import LogTimes
from console.table.closed import closed_files
from console.table.inventory import Inventory, lost_places, read_inventory
from console.table.log_scan import LogScan, scan_log
from console.table.memory import TableMemory
from console.table.unseen import Unseen, is_link, unseen_wal
from console.table.wal_origin import Origins, read_origins, structure_version

_OWN: Final = re.compile(r"_|txn_seq$|wal[1-9]\d*$|\d+$")
"""Names of the table's own files and directories, but for symbol maps and partitions."""


@dataclass(frozen=True, slots=True)
class Sequencer:
    """One `txn_seq`, or a copy of it. `scan` is None where records cannot be located."""

    path: Path
    log: TxnLog
    scan: LogScan | None
    wal_index: WalIndex
    metadata: SequencerMetadata | Problem
    structure: StructureLog

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def max_txn(self) -> int | None:
        """The header's maxTxn, None where there is no header that 9.1.0 knows."""
        return self.log.max_txn if self.log.readable else None


@dataclass(frozen=True, slots=True)
class TableFacts:
    """Everything on disk that a verdict on one WAL table rests on. `applied` is None where `_txn` cannot be read."""

    directory: TableDirectory
    txn: TableTxn
    metadata: TableMetadata | Problem
    sequencer: Sequencer
    backups: tuple[Sequencer, ...]
    inventory: Inventory
    conversion: Conversion
    owners: tuple[FileOwner, ...]
    obstacles: tuple[Problem, ...]
    unseen: tuple[Unseen, ...]
    origins: Origins
    closed: tuple[Path, ...]
    guarded: tuple[Sequencer, ...] = ()  # the guard's mirrors, read only if the sequencer in place is not whole

    @property
    def own_logs(self) -> tuple[Sequencer, ...]:
        """The sequencer in place and the copies, those that are proven to be the table's."""
        return tuple(each for each in (self.sequencer, *self.backups) if self.origins.log(each.name).own)

    @property
    def applied(self) -> int | None:
        """Transactions that are in the table: `_txn` seqTxn and those in its lag."""
        return self.txn.current.applied_txn if self.txn.current else None

    @property
    def seq_txn(self) -> int | None:
        """`_txn` seqTxn alone, from which the server purges."""
        return self.txn.current.seq_txn if self.txn.current else None

    @property
    def highest_wal(self) -> int:
        """The highest id of a WAL on disk, the table's or not, 0 for none: the next writer must not go into it."""
        return max([*self.inventory.wals, *self.origins.wals], default=0)

    @property
    def dedup(self) -> bool:
        return isinstance(self.metadata, Problem) or self.metadata.has_dedup

    @property
    def linked(self) -> tuple[Path, ...]:
        """Symbolic links in the place of the table's own files: what is behind them is not read."""
        found = [each.file for each in self.obstacles] + [self.sequencer.log.path, self.sequencer.path / "_meta"]
        found += [each.file for segment in self.inventory.segments.values() for each in segment.problems]
        return tuple(path for path in dict.fromkeys(found) if _OWN.match(path.name) and is_link(path))

    @property
    def hidden(self) -> tuple[Path, ...]:
        """What was not read of the table, as this user may not, or behind a link."""
        return (*self.closed, *self.linked)

    @property
    def gone(self) -> bool:
        """Whether there is no log to speak of: no sequencer, no file, or one without a header."""
        return self.sequencer.log.state is not LogState.PRESENT

    def relative(self, path: Path) -> str:
        try:
            return str(path.relative_to(self.directory.path.parent))
        except ValueError:
            return str(path)


def read_facts(
    directory: TableDirectory, memory: TableMemory | None = None, times_of: LogTimes | None = None
) -> TableFacts:
    """Return the facts of one WAL table; what `memory` has seen of it is not read again, and what is read it learns.

    Raises nothing but MemoryError: what cannot be read is reported by the facts.
    """
    entries, problem = directory.listing()
    before = read_table_txn(directory.path)
    metadata = metadata_in_force(directory.path, before.current)
    structure = structure_version(metadata, before.current)
    origins = read_origins(directory, metadata, structure, entries, times_of)
    own = [wal for wal in directory.wals(entries) if wal.id not in origins.left_out]

    @cache
    def own_mirrors() -> list[Path]:
        found = directory.guard_mirrors()
        judged = read_origins(directory, metadata, structure, entries, times_of, mirrors=True) if found else origins
        return [each for each in found if judged.log(each.name).own]

    inventory = read_inventory(own, memory, lost_places(directory, own, entries), own_mirrors)
    before = read_table_txn(directory.path)
    applied = before.current.applied_txn if before.current else None
    dedup = isinstance(metadata, Problem) or metadata.has_dedup
    sequencer = read_sequencer(directory.sequencer, applied, inventory, memory, dedup=dedup)
    txn = read_table_txn(directory.path)
    obstacles = join_problems(problem, directory.listing_problems(entries))
    if sequencer.scan is not None and txn.current is not None and txn.current.applied_txn != applied:
        sequencer = read_sequencer(directory.sequencer, txn.current.applied_txn, inventory, memory, dedup=dedup)
    now = txn.current.applied_txn if txn.current else None
    copies = directory.sequencer_backups(entries)
    guarded: tuple[Sequencer, ...] = ()
    scan = sequencer.scan
    if scan is None or scan.bad or scan.beyond or isinstance(sequencer.metadata, Problem):
        mirrors = directory.guard_mirrors()
        guarded = tuple(read_sequencer(path, now, inventory, dedup=dedup) for path in mirrors)
        origins = read_origins(directory, metadata, structure, entries, times_of, mirrors=True) if mirrors else origins
    return TableFacts(
        directory=directory,
        txn=txn,
        metadata=metadata_in_force(directory.path, txn.current),
        sequencer=sequencer,
        backups=tuple(read_sequencer(path, now, inventory, memory, dedup=dedup) for path in copies),
        inventory=inventory,
        conversion=read_conversion(directory.path),
        owners=_owners(directory, inventory),
        obstacles=obstacles,
        unseen=unseen_wal(directory.path, inventory, obstacles, missed=scan is None or scan.bad > 0 or bool(scan.gone)),
        origins=origins,
        closed=closed_files(directory.path),
        guarded=guarded,
    )


def read_sequencer(
    path: Path, applied: int | None, inventory: Inventory, memory: TableMemory | None = None, *, dedup: bool
) -> Sequencer:
    """Return the sequencer, or a copy of one, in `path`; its records are judged from `applied` on."""
    log = read_log(path)
    return Sequencer(
        path=path,
        log=log,
        scan=scan_log(log, inventory, applied, dedup=dedup, memory=memory),
        wal_index=read_wal_index(path),
        metadata=read_sequencer_metadata(path),
        structure=read_structure_log(path),
    )


def _owners(directory: TableDirectory, inventory: Inventory) -> tuple[FileOwner, ...]:
    """Return owners of `_txn` (first, where it exists) and of what the server writes beside it."""
    found = [owner_of(directory.path / name) for name in ("_txn", directory.sequencer.name)]
    try:
        with os.scandir(directory.sequencer) as entries:
            found += [owner_of(directory.sequencer / entry.name, entry) for entry in sorted(entries, key=_name)]
    except OSError:
        pass
    found += [owner_of(wal.path) for wal in inventory.directories]
    return tuple(owner for owner in found if owner is not None)


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name
