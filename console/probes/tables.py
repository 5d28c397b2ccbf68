"""The tables probe: every table diagnosed from disk, with the server's word added where it answers."""

import hashlib
import os
import time
from pathlib import Path

from console.diagnosis.database import assemble, database_findings, uses_wal
from console.diagnosis.model import DatabaseReport
from console.diagnosis.table import TableDiagnosis, examine_table
from console.errors import WalmedicError
from console.probes.sample import Sample, Status
from console.probes.server import ServerProbe
from console.probes.worker import Worker
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.settings import Settings

_SHORTEST, _LONGEST = 3.0, 60.0  # seconds between two readings
_SHARE = 20.0  # a reading of one second is followed by a rest of so many: at most a twentieth of one core
_FRESH = 10.0  # seconds for which the server's last word holds
_AT_LEAST = 120.0  # seconds after which a table is read whole though it looks unchanged
_HEAD = 128  # bytes: the header of a `_txnlog` and its first record


class TablesProbe:
    """Diagnoses in a thread. A table is read whole only where what moves with every transaction has moved.

    `_txnlog` and `_txn` are written through mappings, which move no file time: their content is compared, not that.
    """

    name = "tables"
    deadline = 60.0

    def __init__(self, settings: Settings, server: ServerProbe | None = None) -> None:
        self.interval = _SHORTEST
        self._root = settings.questdb.db_root
        self._bare = settings.bare
        self._server = server
        self._worker = Worker(self.name)
        self._known: dict[str, tuple[str, float, TableDiagnosis]] = {}

    async def read(self) -> Sample[DatabaseReport]:
        """Take one sample."""
        if not self._root:
            return Sample(self.name, Status.UNKNOWN, None, "no data root is configured (settings: questdb.db_root)")
        try:
            report = await self._worker.call(self._look)
        except WalmedicError as error:
            return Sample(self.name, Status.DOWN, None, str(error))
        self.interval = min(_LONGEST, max(_SHORTEST, report.seconds * _SHARE))
        return Sample(self.name, Status.OK, report)

    async def close(self) -> None:
        """Nothing is held open between readings."""

    def _look(self) -> DatabaseReport:
        started = time.monotonic()
        database = DatabaseRoot.locate(Path(self._root))
        directories = database.tables()
        known = {table.directory: self._diagnosed(table) for table in directories if uses_wal(table)}
        self._known = known
        said = self._server.facts(_FRESH) if self._server else None
        return DatabaseReport(
            database.db,
            assemble(directories, {name: diagnosis for name, (_, _, diagnosis) in known.items()}, said),
            database_findings(database),
            () if said is not None else ("SQL: the server does not answer, or none belongs to this directory",),
            time.monotonic() - started,
        )

    def _diagnosed(self, table: TableDirectory) -> tuple[str, float, TableDiagnosis]:
        """Return (stamp, when, diagnosis); the one before where nothing that moves has moved."""
        stamp, now = _stamp(table.path), time.monotonic()
        before = self._known.get(table.directory)
        if before is not None and before[0] == stamp and now - before[1] < _AT_LEAST:
            return before
        return stamp, now, examine_table(table)


def _stamp(table: Path) -> str:
    """Return a digest of what changes with every commit, application, purge, copy and removal in a table."""
    digest = hashlib.sha256()
    for name in ("_txn", "txn_seq/_txnlog", "txn_seq/_wal_index.d"):
        digest.update(_head(table / name, 1 << 16 if name == "_txn" else _HEAD))
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
    """Return the first `size` bytes and the length of `file`; what stands in the way where it cannot be read."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return f"{file.name} {error.errno}".encode()
    try:
        return os.pread(descriptor, size, 0) + str(os.fstat(descriptor).st_size).encode()
    except OSError as error:
        return f"{file.name} {error.errno}".encode()
    finally:
        os.close(descriptor)
