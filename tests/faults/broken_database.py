"""A small real database, its sequencers and own files broken, made by a real server and copied per case."""

import hashlib
import os
import re
import shutil
import stat
import struct
import time
from pathlib import Path

from console.questdb.layout import DatabaseRoot
from console.recovery.engine import Engine
from console.recovery.model import Outcome
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.settings import QuestDBSettings, Settings

ACTIONS = {
    "rebuild-sequencer": "gone",
    "restore-sequencer": "saved",
    "repair-log": "outrun",
    "raise-wal-index": "reused",
    "repair-symbols": "named",
    "rebuild-index": "indexed",
    "repair-table-state": "stateless",
    "repair-metadata": "nameless",
    "repair-partition": "dented",
    "repair-ownership": "closed",
}
"""Which action repairs which table."""
ROWS = 40
"""Rows that each table holds when it is whole: half applied, half only in its WAL."""
SALVAGED = {"salvage-table": len(ACTIONS) * ROWS // 2, "salvage-wal": (len(ACTIONS) + 1) * ROWS // 2}
"""Rows that a salvage writes: those in the tables, or those that may be in none yet.

Without its `_txn` nothing says that `stateless` has its first half.
"""

_OWN_FILES = (
    "repair-symbols", "rebuild-index", "repair-table-state", "repair-metadata", "repair-partition", "repair-ownership",
)  # fmt: skip
_WITH_SYMBOLS = ("named", "indexed")
_SMALL = {
    "cairo.wal.purge.interval": "600000",
    "cairo.wal.writer.data.append.page.size": "16384",
    "cairo.wal.writer.event.append.page.size": "16384",
    "cairo.writer.data.append.page.size": "16384",
    "cairo.o3.column.memory.size": "16384",
    "cairo.writer.data.index.key.append.page.size": "16384",
    "cairo.writer.data.index.value.append.page.size": "65536",
    "cairo.system.writer.data.append.page.size": "16384",
}


def build(root: Path, binary: ServerBinary) -> None:
    """Make the database under `root` and break it."""
    with PrivateServer(root, binary, settings=_SMALL) as server:
        for table in ACTIONS.values():
            more = ", s SYMBOL INDEX" if table in _WITH_SYMBOLS else ""
            server.query(f"CREATE TABLE {table} (ts TIMESTAMP, v LONG{more}) TIMESTAMP(ts) PARTITION BY DAY WAL")
            for start in range(0, ROWS // 2, 5):
                server.query(_insert(table, start))
        deadline = time.monotonic() + 20
        while any(row[0] != row[1] for row in server.query("SELECT writerTxn, sequencerTxn FROM wal_tables()")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    with PrivateServer(root, binary, settings={**_SMALL, "cairo.wal.apply.enabled": "false"}) as server:
        for table in ACTIONS.values():
            for start in range(ROWS // 2, ROWS, 5):
                server.query(_insert(table, start))
        server.kill()
    shutil.rmtree(root / "public")  # the web console: every case copies all of the root
    for library in root.glob("libquestdb*.so"):  # a killed server leaves it
        library.unlink()
    database = DatabaseRoot.locate(root)
    shutil.rmtree(database.table("gone").sequencer)
    saved = database.table("saved").sequencer
    saved.rename(saved.with_name("txn_seq.backup.20251110_032600"))
    _set_header(database.table("outrun").sequencer / "_txnlog", 50_000)
    (database.table("reused").sequencer / "_wal_index.d").write_bytes(bytes(4096))
    _break_own_files(database)
    os.truncate(database.table("stateless").path / "_txn", 96)
    metadata = database.table("nameless").path / "_meta"
    metadata.write_bytes(bytes(metadata.stat().st_size))


def without_own_damage(root: Path) -> None:
    """Remove the tables whose own files are damaged: no server starts beside them."""
    for action, table in ACTIONS.items():
        if action in _OWN_FILES:
            shutil.rmtree(DatabaseRoot.locate(root).table(table).path)


def wait_until_rows(server: PrivateServer, rows: int) -> None:
    """Wait until each table shows so many rows. Raises AssertionError after half a minute."""
    for table in ACTIONS.values():
        deadline = time.monotonic() + 30
        while (found := server.query(f"SELECT count() FROM {table}")) != [(rows,)]:
            assert time.monotonic() < deadline, (table, found)
            time.sleep(0.05)


def _insert(table: str, start: int) -> str:
    numbers = range(start, start + 5)
    more = {n: f", 'symbol {n % 7}'" if table in _WITH_SYMBOLS else "" for n in numbers}
    values = ", ".join(f"('2024-01-{1 + n // 10:02d}T00:00:{n:02d}', {n}{more[n]})" for n in numbers)
    return f"INSERT INTO {table} VALUES {values}"


def _break_own_files(database: DatabaseRoot) -> None:
    """Break symbol map, indexes, a column and modes of the tables that are whole otherwise."""
    named = database.table("named").path
    (named / "s.o").unlink()
    (named / "s.k").write_bytes(bytes(4096))
    for partition in database.table("indexed").path.glob("2024-*"):
        (partition / "s.v").write_bytes(bytes((partition / "s.v").stat().st_size))
    os.truncate(_partition(database, "dented", 1) / "v.d", 8 * 3)
    for path in _partition(database, "closed", 2).iterdir():
        path.chmod(0o444)


def _partition(database: DatabaseRoot, table: str, day: int) -> Path:
    """Return the directory of a day of January; a partition that was written twice has its name txn behind a dot."""
    return max(database.table(table).path.glob(f"2024-01-{day:02d}*"), key=lambda path: path.stat().st_mtime_ns)


def _set_header(log: Path, max_txn: int) -> None:
    with log.open("r+b") as stream:
        stream.seek(4)
        stream.write(struct.pack("<q", max_txn))


def settings_of(root: Path, state: Path) -> Settings:
    """Return settings as a bare --db-root has them."""
    return Settings(state_dir=str(state), questdb=QuestDBSettings(db_root=str(root)), bare=True)


def captured(root: Path, state: Path, table: str | None = None) -> Engine:
    """Return an engine on `root` with fresh evidence of one of its tables, or of all."""
    engine = Engine(settings_of(root, state))
    plan = engine.plan("capture-evidence", table)
    assert engine.run(plan, plan.confirmation).outcome is Outcome.DONE
    return engine


def take_back(engine: Engine) -> None:
    """Take back what was cut off, the undo that was itself cut off included."""
    while cut_off := engine.unfinished():
        name = str(cut_off[0].intent.get("undoes", cut_off[0].id))
        result = engine.undo(name, engine.plan_undo(name).confirmation)
        assert result.outcome is Outcome.DONE, result


def tree_of(root: Path) -> dict[str, tuple[str, int, int, int]]:
    """Return every file and directory under `root`: SHA-256, mode, owner, group. Locks of WAL are empty: left out."""
    found: dict[str, tuple[str, int, int, int]] = {}
    cut = len(str(root)) + 1
    for folder, directories, names in os.walk(root):
        for path in (f"{folder}/{name}" for name in [*directories, *names]):
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as stream:  # noqa: PTH123 - hot
                    content = hashlib.sha256(stream.read()).hexdigest()
            else:
                content = os.readlink(path) if stat.S_ISLNK(status.st_mode) else "directory"  # noqa: PTH115 - hot
            # Names of kept directories carry a mark of the stamps, which differ from copy to copy.
            relative = re.sub(r"walmedic-[0-9a-f]{8}", "walmedic-MARK", path[cut:])
            found[relative] = (content, status.st_mode, status.st_uid, status.st_gid)
    return found
