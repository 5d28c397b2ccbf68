"""The diagnosis of a database that is looked at again and again, with a server at work on it or none.

A table in which nothing moved is not read; of one in which something did, only what is new: records after those that
were checked, segments that are open, rows not seen before. From time to time all of it is read afresh, since a byte
changed by hand far back moves nothing.
"""

import hashlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from console.diagnosis.database import HistoryOf, assemble, no_tables, report_on, server_state, uses_wal
from console.diagnosis.model import DatabaseReport
from console.diagnosis.server.facts import ServerFacts
from console.diagnosis.table import TableDiagnosis, examine_table
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.partition_spans import PartitionSpan
from console.table.belonging import LogTimes
from console.table.memory import TableMemory

_AGAIN: Final = 120.0
"""Seconds after which a table is looked at though nothing seems to have moved: not all shows from outside."""
_AFRESH: Final = 900.0
"""Seconds after which nothing that is remembered of a table is believed any more."""
_HEADS: Final = (("_txn", 64), ("txn_seq/_txnlog", 128), ("txn_seq/_wal_index.d", 8))
"""Files written through mappings, which need not move a file's time, and how many bytes tell that they moved."""


@dataclass(slots=True)
class _Known:
    stamp: str
    looked_at: float
    diagnosis: TableDiagnosis
    memory: TableMemory = field(default_factory=TableMemory)
    since: float = 0.0


class LiveDiagnosis:
    """Keeps what it knows of each table between two looks. Not for use by several threads at once."""

    def __init__(self, *, again: float = _AGAIN, afresh: float = _AFRESH) -> None:
        self._again, self._afresh = again, afresh
        self._known: dict[str, _Known] = {}
        self._plain: dict[str, set[PartitionSpan]] = {}
        self._plain_since = 0.0

    def look(
        self,
        database: DatabaseRoot,
        server: ServerFacts | None = None,
        left_out: tuple[str, ...] = (),
        *,
        history: HistoryOf | None = None,
        station: bool = False,
    ) -> DatabaseReport:
        """Return the report on all tables as they are now, as `diagnose` does."""
        started = time.monotonic()
        listed = database.tables_and_views()
        directories = [table for table in listed if not table.is_query]
        views = [view for view in listed if view.is_query]
        times = LogTimes(database.db)
        self._known = {table.directory: self._examined(table, times) for table in directories if uses_wal(table)}
        made = {name: known.diagnosis for name, known in self._known.items()}
        if started - self._plain_since >= self._afresh:
            self._plain, self._plain_since = {}, started
        reports = assemble(database, directories, made, server, None, history, self._plain)
        more = () if reports else (no_tables(database),)
        state = server_state(database, server, station=station)
        return report_on(database, views, reports, more, left_out, state, started)

    def _examined(self, table: TableDirectory, times: LogTimes) -> _Known:
        stamp, now = _stamp(table.path), time.monotonic()
        known = self._known.get(table.directory)
        if known is not None and known.stamp == stamp and now - known.looked_at < self._again:
            return known
        fresh = known is None or now - known.since >= self._afresh
        memory, since = (TableMemory(), now) if known is None or fresh else (known.memory, known.since)
        return _Known(stamp, now, examine_table(table, memory, times), memory, since)


def _stamp(table: Path) -> str:
    """Return a digest of what changes with every commit, application, purge, copy and removal in a table."""
    digest = hashlib.sha256()
    for name, size in _HEADS:
        digest.update(_head(table / name, size))
    try:
        with os.scandir(table) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                status = entry.stat(follow_symlinks=False)
                line = f"{entry.name} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n"
                digest.update(line.encode(errors="surrogateescape"))
    except OSError as error:
        digest.update(str(error).encode(errors="replace"))
    return digest.hexdigest()


def _head(file: Path, size: int) -> bytes:
    """Return the first `size` bytes of `file`, its inode, length and time; or what stands in the way."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return f"{file.name} {error.errno}".encode()
    try:
        status = os.fstat(descriptor)
        identity = f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"
        return os.pread(descriptor, min(size, status.st_size), 0) + identity.encode()
    except OSError as error:
        return f"{file.name} {error.errno}".encode()
    finally:
        os.close(descriptor)
