"""What the guard's copies say of a table, and whether the newest of them is what it was at the crash.

It is if no log and no WAL on disk has a transaction behind the one that was applied in it: then nothing was written
since, and what is applied is known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from console.questdb.layout import TableDirectory
from console.questdb.reading import read_small
from console.questdb.table_metadata import TableMetadata, read_table_metadata
from console.questdb.table_txn import TableTxn, TxnArea, read_table_txn
from console.recovery.guard.copies import GuardCopy, copies_of
from console.recovery.sequencer.disk import TableUnreadableError, read_sources, table_with
from console.table.names import put_together

_MOST: Final = 4
"""Copies that are looked at: an older one says nothing that these do not."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """One copy and the state in it. `final`: nothing was committed to the table since."""

    copy: GuardCopy
    area: TxnArea
    final: bool

    def content(self, name: str) -> bytes:
        """Return the bytes of one of its files, none where it has no such file."""
        return read_small(self.copy.folder / name).data


def guarded_states(directory: TableDirectory) -> tuple[Guarded, ...]:
    """Return what the newest copies say, the newest first; only that one can be final."""
    found: list[Guarded] = []
    for copy in copies_of(directory):
        txn, metadata = read_table_txn(copy.folder), read_table_metadata(copy.folder)
        if txn.current is None or not isinstance(metadata, TableMetadata):
            continue
        final = not found and metadata.wal and not _committed_since(directory, txn, metadata)
        found.append(Guarded(copy, txn.current, final))
        if len(found) == _MOST:
            break
    return tuple(found)


def of_version(directory: TableDirectory, **versions: int) -> Iterator[Guarded]:
    """Yield the copies whose state has these versions (`metadata_version`, `column_version`), the newest first."""
    for each in guarded_states(directory):
        if all(getattr(each.area, name) == value for name, value in versions.items()):
            yield each


def known_state(directory: TableDirectory) -> TxnArea | None:
    """Return the state in `_txn`, or that of the newest copy if `_txn` is damaged and nothing was committed since."""
    txn = read_table_txn(directory.path)
    if not txn.problems:
        return txn.current
    return next((each.area for each in guarded_states(directory) if each.final), None)


def _committed_since(directory: TableDirectory, txn: TableTxn, metadata: TableMetadata) -> bool:
    """Return whether a log, or WAL on disk, has a transaction behind those applied in `txn`; True if that is open."""
    try:
        table = table_with(directory, txn, metadata)
    except TableUnreadableError:
        return True
    sources = [each for each in read_sources(table) if each.verdict.own and each.scan is not None]
    scans = [(each.name, each.scan) for each in sources if each.scan is not None]
    names = put_together(table.inventory, 0, scans)
    last = max((scan.end for _, scan in scans), default=table.txn.applied_txn + 1)
    unnamed = (names.seq == 0) | (names.seq > table.txn.applied_txn)
    return last > table.txn.applied_txn or bool(unnamed.any()) or bool(table.unseen)
