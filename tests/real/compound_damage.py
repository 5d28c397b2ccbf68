"""Tables drawn from a seed, and two or three damages to each, as one bad night does them; each row has its own id.

`Recipe.drawn` is all that a seed decides; `build` makes the tables of many seeds in one server, and `strike` damages
one of them. Rows of other tables and of an earlier life have ids of their own, so that each foreign row shows.
"""

import contextlib
import random
import shutil
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from console.questdb.segment import read_segment
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from tests.real import ledger_cases as blow
from tests.real.generated_tables import DAY, EPOCH, SERVER, Batch, applied_txn, log_records, wait_until_applied

COLUMNS: Final = {
    "plain": "ts TIMESTAMP, id LONG, px DOUBLE, sym SYMBOL",
    "dedup": "ts TIMESTAMP, id LONG, px DOUBLE, sym SYMBOL",
    "uuid": "ts TIMESTAMP, id UUID, px DOUBLE",
    "symbols": "ts TIMESTAMP, id SYMBOL, px SYMBOL",
}
"""Columns of each kind of table: the second one holds the id, the third one is damaged."""
_WIDTH: Final = {"plain": 8, "dedup": 8, "uuid": 8, "symbols": 4}
_GROUPS: Final = {
    "backup": ("own whole", "own old", "own cut", "own zeroed", "foreign", "foreign without _meta"),
    "event": ("cut inside", "cut between", "type unknown", "header low", "header high", "index cut"),
    "column": ("column cut", "zero page", "column removed"),
    "txn": ("_txn back",),
    "wal": ("foreign wal added", "foreign wal in place", "old wal added", "old wal in place"),
    "link": ("wal linked", "segment linked"),
    "convert": ("conversion pending",),
}
_WEIGHTS: Final = (5, 4, 3, 1, 3, 1, 1)
_LOG: Final = ("log gone", "log gone", "log zeroed", "log cut", "log header wrong", "log records zeroed")
_KEEPS_ALL: Final = {*_GROUPS["backup"], *_LOG, "foreign wal added", "old wal added"}
"""Damages that take no row away: logs and backups only say which are applied, and in which order they come."""
MILD: Final = 1000
"""From this seed on a table gets such damages alone: they tell how much is refused that could be recovered."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one table is like, and what happens to it."""

    seed: int
    kind: str
    writers: int
    applied: int  # rounds; each writer commits once in a round
    pending: int
    rows: int  # of a transaction
    late: bool  # rows may be older than those before them
    altered: str  # a column is added: `no`, `applied`, `pending`
    updated: str
    damages: tuple[str, ...]

    @classmethod
    def drawn(cls, seed: int) -> "Recipe":
        """Return the recipe of a seed."""
        rng = random.Random(seed * 104_729 + 11)
        weights = [weight * (group in ("backup", "wal")) for group, weight in zip(_GROUPS, _WEIGHTS, strict=True)]
        drawn = rng.choices(list(_GROUPS), weights if seed >= MILD else _WEIGHTS, k=8)
        groups = list(dict.fromkeys(drawn))[: rng.choice((1, 2, 2))]
        kinds = {name: [d for d in group if seed < MILD or d in _KEEPS_ALL] for name, group in _GROUPS.items()}
        others = [rng.choice(kinds[group]) for group in sorted(groups, key=list(_GROUPS).index)]
        paged = "zero page" in others
        return cls(
            seed=seed,
            kind=rng.choice(("plain", "plain", "dedup", "uuid", "symbols")),
            writers=rng.choice((1, 2)) if paged else rng.choice((1, 1, 2, 3, 5, 8)),
            applied=rng.randint(2, 4),
            pending=rng.randint(1, 5),
            rows=rng.choice((30, 700)) if paged else rng.randint(1, 20),
            late=rng.random() < 0.3,
            altered=rng.choice(("no",) * 8 + ("applied", "pending")),
            updated=rng.choice(("no",) * 8 + ("applied", "pending")),
            damages=(*others, rng.choice(_LOG)),
        )

    @property
    def name(self) -> str:
        """Name of the table."""
        return f"t{self.seed}"

    @property
    def old(self) -> bool:
        """Whether the table had an earlier life."""
        return any(damage.startswith("old wal") for damage in self.damages)

    @property
    def recoverable(self) -> bool:
        """Whether nothing was destroyed that was the only one to tell of a row, or of an order that matters.

        Beside a WAL of another table nothing but the sequencer tells that it did not take the place of an own one.
        """
        ordered = self.kind == "dedup" and self.writers > 1
        hidden = "log gone" in self.damages and any(damage.endswith("wal added") for damage in self.damages)
        told = not ordered and self.updated == "no" and self.altered != "pending" and not hidden
        whole = "own whole" in self.damages or "log header wrong" in self.damages
        return set(self.damages) <= _KEEPS_ALL and (told or whole)


@dataclass(slots=True)
class World:
    """A killed database, the ids of each table's rows, and what was kept aside of earlier times."""

    batch: Batch
    kept: Path
    ids: dict[str, set[str]]


Connections = Sequence[psycopg.Connection[tuple[Any, ...]]]


@dataclass
class _Feed:
    """Writes one table; `base` makes its ids its own."""

    recipe: Recipe
    name: str
    base: int
    rng: random.Random
    ids: set[str] = field(default_factory=set)
    number: int = 0

    def create(self, connections: Connections) -> None:
        keys = " DEDUP UPSERT KEYS(ts)" if self.recipe.kind == "dedup" else ""
        columns = COLUMNS[self.recipe.kind]
        connections[0].execute(
            f"CREATE TABLE {self.name} ({columns}) TIMESTAMP(ts) PARTITION BY DAY WAL{keys}".encode()
        )

    def round(self, connections: Connections, add: str = "") -> None:
        """Commit one transaction of each writer, all open at once and committed in any order."""
        mine = connections[: self.recipe.writers]
        for connection in mine:
            connection.execute(b"BEGIN")
            values = ", ".join(self._row() for _ in range(self.recipe.rows))
            connection.execute(f"INSERT INTO {self.name} (ts, id, px{self._symbol}) VALUES {values}".encode())
        for connection in self.rng.sample(mine, len(mine)):
            connection.execute(b"COMMIT")
        if add:
            connections[0].execute(f"ALTER TABLE {self.name} ADD COLUMN {add} INT".encode())

    def update(self, connections: Connections) -> None:
        """Change the older half of the rows."""
        px = "'changed'" if self.recipe.kind == "symbols" else "-1"
        connections[0].execute(
            f"UPDATE {self.name} SET px = {px} WHERE ts < {EPOCH + self.number * 5_500_000}::timestamp".encode()
        )

    @property
    def _symbol(self) -> str:
        return ", sym" if self.recipe.kind in ("plain", "dedup") else ""

    def _row(self) -> str:
        self.number += 1
        number = self.base + self.number
        stamp = EPOCH + self.number * 11_000_000
        if self.recipe.late:
            stamp -= self.rng.randrange(DAY // 20)
        if self.recipe.kind == "dedup" and self.number > 5 and self.rng.random() < 0.1:
            stamp = EPOCH + (self.number - self.rng.randrange(1, 6)) * 11_000_000
        if self.recipe.kind == "uuid":
            text = f"1d3a3b2c-8f6e-4a51-9d0b-{number:012d}"
            self.ids.add(text)
            return f"({stamp}, '{text}', {number}.5)"
        if self.recipe.kind == "symbols":
            self.ids.add(f"i{number}")
            return f"({stamp}, 'i{number}', 'V{number % 5 + 1}')"
        self.ids.add(str(number))
        return f"({stamp}, {number}, {number}.5, 'S{number % 7}')"


def build(root: Path, recipes: Sequence[Recipe], binary: ServerBinary) -> World:
    """Make the tables, and for each kind another one of the same structure, with one server that is killed."""
    kept = root.with_name(f"{root.name} kept")
    feeds = [_Feed(r, r.name, (r.seed + 1) * 10_000_000, random.Random(r.seed)) for r in recipes]
    others = [
        _Feed(Recipe(0, kind, 2, 2, 2, 10, False, "no", "no", ()), f"other_{kind}", 900_000_000 + i, random.Random(i))
        for i, kind in enumerate(COLUMNS)
    ]
    with (
        PrivateServer(root, binary, settings={**SERVER, "cairo.wal.segment.rollover.row.count": "100000"}) as server,
        contextlib.ExitStack() as stack,
    ):
        connections = [stack.enter_context(server.connect()) for _ in range(8)]
        _first_lives(server, root, kept, [feed for feed in feeds if feed.recipe.old], connections)
        for feed in (*feeds, *others):
            feed.create(connections)
            for number in range(feed.recipe.applied):
                feed.round(connections, "more" if number == 0 and feed.recipe.altered == "applied" else "")
            if feed.recipe.updated == "applied":
                feed.update(connections)
        wait_until_applied(server)
        directories = {str(n): str(d) for n, d in server.query("SELECT table_name, directoryName FROM tables()")}
        for feed in (*feeds, *others):
            shutil.copytree(root / "db" / directories[feed.name] / "txn_seq", kept / feed.name / "txn_seq")
            server.query(f"ALTER TABLE {feed.name} SUSPEND WAL")
            for number in range(feed.recipe.pending):
                if feed.recipe.updated == "pending" and number == feed.recipe.pending // 2:
                    feed.update(connections)
                feed.round(connections, "more" if number == 0 and feed.recipe.altered == "pending" else "")
        server.kill()
    return World(Batch(root, (), directories), kept, {feed.name: feed.ids for feed in feeds})


def _first_lives(
    server: PrivateServer, root: Path, kept: Path, feeds: Sequence[_Feed], connections: Connections
) -> None:
    """Tables that were dropped since: their WALs are kept, their rows are none of the tables'."""
    lives = [_Feed(feed.recipe, feed.name, feed.base + 5_000_000, random.Random(1)) for feed in feeds]
    for life in lives:
        life.create(connections)
        life.round(connections)
        life.round(connections)
    wait_until_applied(server)
    directories = {str(n): str(d) for n, d in server.query("SELECT table_name, directoryName FROM tables()")}
    for life in lives:
        shutil.copytree(root / "db" / directories[life.name] / "wal1", kept / life.name / "wal1")
        server.query(f"DROP TABLE {life.name}")


def strike(world: World, recipe: Recipe) -> None:
    """Do to a table what its recipe says: backups are made first, the log is damaged last, `_txn` after all."""
    table, rng = world.batch.table(recipe.name), random.Random(recipe.seed * 31 + 5)
    waiting = [record[1:] for record in log_records(table)[1][applied_txn(table) :] if record[1] > 0]
    scene = _Scene(world, recipe, table, rng, *rng.choice(waiting))
    last = ("_txn back", "conversion pending")
    for damage in sorted(recipe.damages, key=last.__contains__):
        _STRIKES[damage](scene)


@dataclass(frozen=True, slots=True)
class _Scene:
    """A table, and the transaction in it that the damages to a segment are about."""

    world: World
    recipe: Recipe
    table: Path
    rng: random.Random
    wal: int
    segment: int
    txn: int

    @property
    def folder(self) -> Path:
        return self.table / f"wal{self.wal}" / str(self.segment)

    @property
    def log(self) -> Path:
        return self.table / "txn_seq" / "_txnlog"

    def event(self) -> int:
        """Return where the event begins."""
        return int(read_segment(self.folder).events["offset"][self.txn])

    def row(self) -> int:
        """Return the first row of the transaction."""
        return max(0, int(read_segment(self.folder).events["start_row"][self.txn]))


def _cut_file(path: Path, size: int) -> None:
    with path.open("r+b") as stream:
        stream.truncate(size)


def _record(scene: _Scene) -> int:
    """Return where a record near the applied one lies, or one that waits."""
    top = len(log_records(scene.table)[1])
    applied = min(applied_txn(scene.table), top)
    return 76 + 28 * scene.rng.randint(max(0, applied - 2), max(0, top - 1))


def _damage_log(log: Path, how: str, at: int, rng: random.Random) -> None:
    if how == "zeroed":
        log.write_bytes(bytes(log.stat().st_size))
    elif how == "cut":
        _cut_file(log, at)
    elif how == "records zeroed":
        blow.write(log, at, bytes(28 * rng.randint(1, 3)))
    else:
        (top,) = struct.unpack_from("<q", log.read_bytes(), 4)
        blow.write(log, 4, struct.pack("<q", rng.choice((0, 1, max(0, top - 1), top + 3, top + 50_000_000))))


def _strike_log(how: str) -> Callable[[_Scene], None]:
    return lambda scene: _damage_log(scene.log, how, _record(scene), scene.rng)


def _backup(scene: _Scene, source: Path, without: tuple[str, ...] = (), how: str = "") -> None:
    copy = scene.table / blow.BACKUP
    shutil.copytree(source / "txn_seq", copy)
    for file in without:
        (copy / file).unlink()
    if how:
        _damage_log(copy / "_txnlog", how, _record(scene), scene.rng)


def _other(scene: _Scene) -> Path:
    return scene.world.batch.table(f"other_{scene.recipe.kind}")


def _put_wal(scene: _Scene, source: Path, *, added: bool) -> None:
    number = scene.recipe.writers + 1 if added else scene.wal
    target = scene.table / f"wal{number}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def _link(scene: _Scene, *, segment: bool) -> None:
    path = scene.folder if segment and scene.folder.exists() else scene.folder.parent  # another WAL may be in its place
    other = scene.table.parent.parent / "other disk" / scene.table.name
    other.mkdir(parents=True)
    if path.is_symlink():
        return
    shutil.move(path, other / path.name)
    path.symlink_to(other / path.name)


def _set_back(scene: _Scene) -> None:
    (version,) = struct.unpack("<q", (scene.table / "_txn").read_bytes()[:8])
    blow.write(scene.table / "_txn", 0, struct.pack("<q", version - 1))


def _zero_page(scene: _Scene) -> None:
    at = _WIDTH[scene.recipe.kind] * scene.row()
    path = scene.folder / "px.d"
    size = path.stat().st_size
    page = min(at // 4096 + (at // 4096 * 4096 < at and scene.recipe.rows > 100), (size - 1) // 4096)
    blow.write(path, page * 4096, bytes(4096))


_STRIKES: Final[dict[str, Callable[[_Scene], object]]] = {
    "log gone": lambda s: shutil.rmtree(s.table / "txn_seq"),
    "log zeroed": _strike_log("zeroed"),
    "log cut": _strike_log("cut"),
    "log header wrong": _strike_log("header"),
    "log records zeroed": _strike_log("records zeroed"),
    "own whole": lambda s: _backup(s, s.table),
    "own old": lambda s: _backup(s, s.world.kept / s.recipe.name),
    "own cut": lambda s: _backup(s, s.table, how="cut"),
    "own zeroed": lambda s: _backup(s, s.table, how="records zeroed"),
    "foreign": lambda s: _backup(s, _other(s)),
    "foreign without _meta": lambda s: _backup(s, _other(s), ("_meta",)),
    "cut inside": lambda s: _cut_file(s.folder / "_event", s.event() + 20),
    "cut between": lambda s: _cut_file(s.folder / "_event", s.event()),
    "type unknown": lambda s: blow.write(s.folder / "_event", s.event() + 12, b"\x7b"),
    "header low": lambda s: blow.write(s.folder / "_event", 0, struct.pack("<i", s.txn - 1)),
    "header high": lambda s: blow.write(s.folder / "_event", 0, struct.pack("<i", s.txn + 7)),
    "index cut": lambda s: _cut_file(s.folder / "_event.i", 8 * s.txn),
    "column cut": lambda s: _cut_file(s.folder / "px.d", _WIDTH[s.recipe.kind] * s.row() + 1),
    "zero page": _zero_page,
    "column removed": lambda s: (s.folder / "px.d").unlink(),
    "_txn back": _set_back,
    "foreign wal added": lambda s: _put_wal(s, _other(s) / "wal2", added=True),
    "foreign wal in place": lambda s: _put_wal(s, _other(s) / "wal2", added=False),
    "old wal added": lambda s: _put_wal(s, s.world.kept / s.recipe.name / "wal1", added=True),
    "old wal in place": lambda s: _put_wal(s, s.world.kept / s.recipe.name / "wal1", added=False),
    "wal linked": lambda s: _link(s, segment=False),
    "segment linked": lambda s: _link(s, segment=True),
    "conversion pending": lambda s: (s.table / "_convert").write_bytes(b"\x00"),
}
