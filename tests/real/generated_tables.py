"""A seeded generator of real WAL tables: rows applied, rows committed and not yet applied, then kill -9.

Every table of a batch lives in one server. `dev.mode.enabled` allows `SUSPEND WAL`, after which a table's commits are
acknowledged, sequenced and not applied, by the very writers (and into the very segments) that wrote the applied ones.
"""

import contextlib
import random
import shutil
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer

EPOCH = 1_700_006_400_000_000  # 2023-11-15 00:00 UTC, µs
DAY = 86_400_000_000

SERVER = {
    "dev.mode.enabled": "true",
    "cairo.wal.purge.interval": "3600000",
    "cairo.wal.segment.rollover.row.count": "60",
    "cairo.wal.writer.data.append.page.size": "16384",
    "cairo.wal.writer.event.append.page.size": "16384",
    "cairo.writer.data.append.page.size": "16384",
    "cairo.writer.data.index.key.append.page.size": "16384",
    "cairo.writer.data.index.value.append.page.size": "65536",
    "cairo.o3.column.memory.size": "16384",
    "cairo.o3.partition.split.min.size": "2000",
    "cairo.wal.apply.worker.sleep.timeout": "5",
}
PART_SIZE = 7
"""Records per part of a V2 log: small, so that parts are crossed."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one table is like. `rounds`: each writer commits once per round, in a shuffled order."""

    seed: int
    name: str
    version: int  # of the log: 1 or 2
    writers: int
    applied_rounds: int
    pending_rounds: int
    altered: bool  # structure changes, all applied
    altered_late: bool  # a structure change that is not applied
    dedup: bool
    purged: str  # `none`; `closed`: applied segments that no writer held; `all`: as after a restart and a sweep
    late_first: bool  # rows of later rounds may be older than earlier ones (out of order)
    updates: bool  # an UPDATE among the applied transactions
    torn: bool = False  # one transaction that waits is not whole in its segment, as after a power loss
    viewed: bool = False  # a materialised view on it, refreshed before all was applied

    @classmethod
    def drawn(cls, seed: int) -> "Recipe":
        """Return the recipe of a seed."""
        rng = random.Random(seed)
        writers = rng.choice((1, 1, 2, 3, 5))
        altered = rng.random() < 0.4
        return cls(
            seed=seed,
            name=f"t{seed}",
            version=2 if rng.random() < 0.3 else 1,
            writers=writers,
            applied_rounds=rng.randint(1, 6),
            pending_rounds=rng.randint(0, 5),
            altered=altered,
            altered_late=rng.random() < 0.12,
            dedup=rng.random() < 0.2,
            purged=rng.choice(("none", "none", "closed", "all")),
            late_first=rng.random() < 0.4,
            updates=rng.random() < 0.15,
            torn=rng.random() < 0.25,
            viewed=rng.random() < 0.2,
        )

    @property
    def view(self) -> str:
        """Name of the view on the table."""
        return f"v{self.seed}"


@dataclass(slots=True)
class Batch:
    """A killed database: `root` holds `db/`; `directories` maps table names to directory names."""

    root: Path
    recipes: tuple[Recipe, ...]
    directories: dict[str, str] = field(default_factory=dict)
    inserted: dict[str, int] = field(default_factory=dict)

    def table(self, name: str) -> Path:
        """Return a table's directory."""
        return self.root / "db" / self.directories[name]

    def copy(self, to: Path) -> "Batch":
        """Return a copy of everything at `to`; hard links inside stay links."""
        copy_tree(self.root, to)
        return Batch(to, self.recipes, dict(self.directories), dict(self.inserted))


def copy_tree(source: Path, to: Path) -> None:
    """Copy with all times: a segment whose directory is younger than its first commit is not proven to be its own."""
    to.mkdir(parents=True)
    links: dict[tuple[int, int], Path] = {}
    for path in sorted(source.rglob("*")):
        target = to / path.relative_to(source)
        if path.is_dir():
            target.mkdir()
            continue
        status = path.stat()
        first = links.setdefault((status.st_dev, status.st_ino), target)
        if first == target:
            shutil.copy2(path, target)
        else:
            target.hardlink_to(first)
    for path in sorted(to.rglob("*"), reverse=True):
        if path.is_dir():
            shutil.copystat(source / path.relative_to(to), path)


class _Table:
    """Writes one table by its recipe; keeps the columns as they are now."""

    def __init__(self, recipe: Recipe, connections: Sequence[psycopg.Connection[tuple[Any, ...]]]) -> None:
        self.recipe = recipe
        self.rng = random.Random(recipe.seed * 7919)
        self.connections = connections[: recipe.writers]
        self.clock = EPOCH + self.rng.randrange(DAY // 2)
        self.columns = ["sym", "px", "qty", "n", "note", "txt", "flag"]
        self.inserted = 0

    def create(self) -> None:
        dedup = " DEDUP UPSERT KEYS(ts, sym)" if self.recipe.dedup else ""
        self._run(
            f"CREATE TABLE {self.recipe.name} (ts TIMESTAMP, sym SYMBOL, px DOUBLE, qty LONG, n INT, note VARCHAR, "
            f"txt STRING, flag BOOLEAN) TIMESTAMP(ts) PARTITION BY DAY WAL{dedup}"
        )

    def create_view(self) -> None:
        self._run(
            f"CREATE MATERIALIZED VIEW {self.recipe.view} WITH BASE {self.recipe.name} REFRESH MANUAL AS "
            f"(SELECT ts, count() n FROM {self.recipe.name} SAMPLE BY 1h) PARTITION BY DAY"
        )

    def round(self) -> None:
        """Commit one transaction of each writer; all are open at the same time, so each has a WAL of its own."""
        for connection in self.connections:
            connection.execute(b"BEGIN")
            connection.execute(self._insert(self.rng.randint(1, 25)).encode())
        for connection in self.rng.sample(self.connections, len(self.connections)):
            connection.execute(b"COMMIT")

    def alter(self, late: bool = False) -> None:
        """Change the structure, in one to three statements."""
        name = self.recipe.name
        self._run(f"ALTER TABLE {name} ADD COLUMN {'late' if late else 'extra'} INT")
        self.columns.append("late" if late else "extra")
        if late:
            return
        if self.rng.random() < 0.5:
            self._run(f"ALTER TABLE {name} RENAME COLUMN n TO n2")
            self.columns[self.columns.index("n")] = "n2"
        if self.rng.random() < 0.5:
            self._run(f"ALTER TABLE {name} DROP COLUMN flag")
            self.columns.remove("flag")
        if self.rng.random() < 0.3:
            self._run(f"ALTER TABLE {name} ALTER COLUMN qty TYPE DOUBLE")

    def update(self) -> None:
        self._run(f"UPDATE {self.recipe.name} SET px = 0.5 WHERE px < 20")

    def suspend(self) -> None:
        self._run(f"ALTER TABLE {self.recipe.name} SUSPEND WAL")

    def _insert(self, rows: int) -> str:
        if self.recipe.late_first and self.rng.random() < 0.3:
            self.clock -= self.rng.randrange(DAY)
        values = []
        for _ in range(rows):
            self.clock += self.rng.randrange(1, 900_000_000)
            values.append("(" + ", ".join([str(self.clock), *(self._value(c) for c in self.columns)]) + ")")
        if self.recipe.dedup and self.rng.random() < 0.4:
            self.clock -= self.rng.randrange(1_800_000_000)
        self.inserted += rows
        return f"INSERT INTO {self.recipe.name} (ts, {', '.join(self.columns)}) VALUES {', '.join(values)}"

    def _value(self, column: str) -> str:
        rng = self.rng
        if column == "sym":
            return rng.choice(["'BTC'", "'ETH'", "'SOL'", "NULL", f"'S{rng.randrange(40)}'"])
        if column == "px":
            return f"{rng.uniform(1, 99):.6f}"
        if column == "note":
            return rng.choice(["NULL", "''", "'short'", f"'{'ü' * rng.randrange(30)}'"])
        if column == "txt":
            return rng.choice(["NULL", f"'{rng.randrange(10**9)}'"])
        if column == "flag":
            return rng.choice(["true", "false"])
        return str(rng.randrange(1_000_000))

    def _run(self, sql: str) -> None:
        self.connections[0].execute(sql.encode())


def build(root: Path, recipes: Iterable[Recipe], binary: ServerBinary) -> Batch:
    """Make the tables under `root` with one server (two starts where V2 logs are wanted), killed at the end."""
    batch = Batch(root, tuple(recipes))
    root.mkdir(parents=True, exist_ok=True)
    starts = [(2, {"cairo.default.sequencer.part.txn.count": str(PART_SIZE)}), (1, {})]
    for version, setting in starts:
        wanted = [r for r in batch.recipes if r.version == version]
        if not wanted and version == 2:
            continue
        with contextlib.ExitStack() as stack:
            server = PrivateServer(root, binary, settings={**SERVER, **setting})
            stack.callback(server.kill)
            server.start()
            connections = [stack.enter_context(server.connect()) for _ in range(5)]
            first = version == 2
            tables = [_Table(r, connections) for r in wanted]
            for table in tables:
                table.create()
            if first:
                server.stop()
                continue
            tables = [_Table(r, connections) for r in batch.recipes]
            for table in tables:
                if table.recipe.viewed:
                    table.create_view()
            _fill(tables, server)
            batch.inserted = {t.recipe.name: t.inserted for t in tables}
            rows = server.query("SELECT table_name, directoryName FROM tables()")
            batch.directories = {str(n): str(d) for n, d in rows if any(r.name == n for r in batch.recipes)}
            server.kill()
    for recipe in batch.recipes:
        _purge(batch.table(recipe.name), recipe.purged)
    return batch


def _fill(tables: Sequence[_Table], server: PrivateServer) -> None:
    """Fill the tables: a first round that views have seen, what is applied, what is not."""
    for table in tables:
        table.round()
    wait_until_applied(server)
    for table in tables:
        if table.recipe.viewed:
            refresh(server, table.recipe)
    for table in tables:
        for number in range(table.recipe.applied_rounds):
            table.round()
            if table.recipe.altered and number == table.recipe.applied_rounds // 2:
                table.alter()
                table.round()
        if table.recipe.updates:
            table.update()
    wait_until_applied(server)
    for table in tables:
        table.suspend()
        for number in range(table.recipe.pending_rounds):
            if table.recipe.altered_late and number == 1:
                table.alter(late=True)
            table.round()


def refresh(server: PrivateServer, recipe: Recipe, timeout: float = 20) -> bool:
    """Refresh the view of a table; return whether it then shows what its query does."""
    server.query(f"REFRESH MATERIALIZED VIEW {recipe.view} INCREMENTAL")
    wanted = server.query(f"SELECT ts, count() n FROM {recipe.name} SAMPLE BY 1h ORDER BY ts")
    deadline = time.monotonic() + timeout
    while server.query(f"SELECT ts, n FROM {recipe.view} ORDER BY ts") != wanted:
        status = server.query(f"SELECT view_status FROM materialized_views() WHERE view_name = '{recipe.view}'")
        if status == [("invalid",)] or time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def wait_until_applied(server: PrivateServer, timeout: float = 120) -> None:
    """Wait until every table is applied to the end. Raises AssertionError for a suspended table or on time-out.

    It looks twice: while a table is renamed it is not listed.
    """
    deadline, seen = time.monotonic() + timeout, 0
    while time.monotonic() < deadline:
        rows = server.query("SELECT name, suspended, writerTxn, sequencerTxn FROM wal_tables()")
        assert not [r for r in rows if r[1]], f"suspended: {[r for r in rows if r[1]]}"
        seen = seen + 1 if all(r[2] >= r[3] for r in rows) else 0
        if seen > 1:
            return
        time.sleep(0.05)
    raise AssertionError("not applied in time")


def log_records(table: Path) -> tuple[int, list[tuple[int, int, int, int]]]:
    """Return the log's version and its records (structure version, wal, segment, segment txn). A reader of its own."""
    header = (table / "txn_seq" / "_txnlog").read_bytes()
    version, top = struct.unpack_from("<iq", header)
    if version == 0:
        return 1, [struct.unpack_from("<qiii", header, 76 + 28 * i) for i in range(top)]
    (size,) = struct.unpack_from("<i", header, 20)
    parts = [_part(table, number, size) for number in range((top + size - 1) // size)]
    return 2, [struct.unpack_from("<qiii", parts[i // size], 60 * (i % size)) for i in range(top)]


def _part(table: Path, number: int, size: int) -> bytes:
    """Return a part of a V2 log; zeros where it is purged, as the server does with parts below the applied record."""
    path = table / "txn_seq" / "_txn_parts" / str(number)
    return path.read_bytes() if path.exists() else bytes(60 * size)


def applied_txn(table: Path) -> int:
    """Return `_txn` seqTxn plus the lag transactions. A reader of its own."""
    data = (table / "_txn").read_bytes()
    (version,) = struct.unpack_from("<q", data)
    (base,) = struct.unpack_from("<i", data, 32 if version & 1 else 8)
    (seq_txn,) = struct.unpack_from("<q", data, base + 80)
    (lag,) = struct.unpack_from("<i", data, base + 92)
    return int(seq_txn) + abs(int(lag))


def _purge(table: Path, how: str) -> None:
    """Remove the applied segments that WalPurgeJob would have; `closed` keeps each WAL's last, a writer held it."""
    if how == "none":
        return
    records = log_records(table)[1]
    waiting: dict[int, int] = {}
    for _, wal, segment, _ in records[applied_txn(table) :]:
        waiting.setdefault(wal, segment)
    for folder in table.glob("wal*"):
        if not folder.is_dir():
            continue
        wal = int(folder.name[3:])
        segments = sorted(int(p.name) for p in folder.iterdir() if p.is_dir())
        keep = waiting.get(wal, (1 << 30) if how == "all" else segments[-1])
        for segment in segments:
            if segment < keep and (how == "all" or segment != segments[-1]):
                shutil.rmtree(folder / str(segment))
                (folder / f"{segment}.lock").unlink(missing_ok=True)
        if how == "all" and wal not in waiting:
            shutil.rmtree(folder)
            (table / f"{folder.name}.lock").unlink(missing_ok=True)
    if how == "all":
        for number in range((applied_txn(table) - 1) // PART_SIZE):
            (table / "txn_seq" / "_txn_parts" / str(number)).unlink(missing_ok=True)
