"""The WAL probe: how far each table is behind its sequencer, and how long the disk lasts. From disk alone."""

import shutil
import time
from collections import deque
from pathlib import Path

from console.diagnosis.database import uses_wal
from console.probes.contents import DiskSample, WalSample, WalTable
from console.probes.rates import Slope
from console.probes.sample import Sample, Status
from console.probes.worker import ThreadProbe
from console.questdb.layout import DatabaseRoot, TableDirectory
from console.questdb.table_txn import read_table_txn
from console.questdb.txn_log import TxnLog, read_log
from console.settings import Settings

_RATE_WINDOW = 30.0  # seconds over which transactions a second are taken
_DISK_WINDOW = 6 * 3_600.0  # seconds over which the growth of the disk is taken
_DISK_EVERY = 60.0  # seconds between two points of that window
_DISK_LEAST = 600.0  # seconds that the disk was watched before its end is foretold


class WalProbe(ThreadProbe[WalSample]):
    """Reads the header of each `_txn` and `_txnlog` and one record: a few small reads for each table."""

    name = "wal"
    interval = 3.0
    deadline = 20.0

    def __init__(self, settings: Settings) -> None:
        self._root = settings.questdb.db_root
        super().__init__("" if self._root else self.NO_ROOT)
        self._slopes: dict[str, tuple[Slope, Slope]] = {}
        self._disk = DiskWatch()

    def _sample(self) -> Sample[WalSample]:
        database = DatabaseRoot.locate(Path(self._root))
        tables = [table for table in database.tables() if uses_wal(table)]
        directories = {table.directory for table in tables}
        self._slopes = {name: slopes for name, slopes in self._slopes.items() if name in directories}
        now = time.monotonic()
        rows = tuple(self._table(table, now) for table in tables)
        return Sample(self.name, Status.OK, WalSample(rows, self._disk.sample(database.db, now)))

    def _table(self, table: TableDirectory, now: float) -> WalTable:
        current = read_table_txn(table.path).current
        applied = current.applied_txn if current is not None else None
        log = read_log(table.sequencer)
        logged = log.max_txn
        rate_in, rate_out = self._slopes.setdefault(table.directory, (Slope(_RATE_WINDOW), Slope(_RATE_WINDOW)))
        return WalTable(
            table=table.name,
            logged=logged,
            applied=applied,
            seconds_behind=_behind(log, applied, logged),
            rate_in=rate_in.rate(now, logged),
            rate_out=rate_out.rate(now, applied),
        )


def _behind(log: TxnLog, applied: int | None, logged: int | None) -> float | None:
    """Return how long ago the oldest transaction that is not applied was committed; 0 where there is none."""
    if applied is None or logged is None:
        return None
    if applied >= logged:
        return 0.0
    try:
        records = log.records(applied + 1, applied + 1)
    except OSError:
        return None
    committed = int(records["commit_us"][0]) / 1e6 if len(records) else 0.0
    return max(0.0, time.time() - committed) if committed > 0 else None


class DiskWatch:
    """How fast the file system fills, by what was seen while it was watched."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def sample(self, place: Path, now: float) -> DiskSample | None:
        """Return what is free for this user at `place` and when it ends; None where that cannot be measured."""
        try:
            usage = shutil.disk_usage(place)
        except OSError:
            return None
        return self.seen(usage.total, usage.free, now)

    def seen(self, total: int, free: int, now: float) -> DiskSample:
        """Return the sample of so many bytes at `now` (time.monotonic())."""
        if not self._points or now - self._points[-1][0] >= _DISK_EVERY:
            self._points.append((now, free))
        while now - self._points[0][0] > _DISK_WINDOW:
            self._points.popleft()
        at, before = self._points[0]
        watched, grown = now - at, before - free
        known = watched >= _DISK_LEAST
        ends = free / (grown / watched) if known and grown > 0 else None
        return DiskSample(total, free, watched, known, ends)
