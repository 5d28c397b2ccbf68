"""A database of one QuestDB version: every column type and table kind that it knows, half its rows not applied."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from console.questdb.formats.model import FIRST, Since
from console.recovery.server.private_server import PrivateServer
from tests.real.generated_tables import wait_until_applied
from tests.real.versions import binary_of

VERSIONS: Final = ("7.3.10", "7.4.2", "8.1.4", "8.2.0", "9.0.3", "9.1.1", "9.2.3", "9.3.2", "9.3.4")
SETTINGS: Final = {
    "cairo.wal.purge.interval": "3600000",
    "cairo.writer.data.append.page.size": "16384",
    "cairo.o3.column.memory.size": "16384",
    "cairo.o3.partition.split.min.size": "2000",
    "cairo.wal.apply.worker.sleep.timeout": "5",
}
_TYPES: Final = (
    ("BOOLEAN", "x % 2 = 0", FIRST),
    ("BYTE", "rnd_byte(1, 100)", FIRST),
    ("SHORT", "rnd_short(1, 999)", FIRST),
    ("CHAR", "rnd_char()", FIRST),
    ("INT", "rnd_int(0, 9999, 2)", FIRST),
    ("LONG", "x", FIRST),
    ("DATE", "rnd_date(to_date('2020', 'yyyy'), to_date('2021', 'yyyy'), 3)", FIRST),
    ("TIMESTAMP", "timestamp_sequence('2020-01-01', 77L)", FIRST),
    ("FLOAT", "rnd_float(3) + 1", FIRST),
    ("DOUBLE", "rnd_double(3) + 1", FIRST),
    ("STRING", "rnd_str(3, 20, 1)", FIRST),
    ("SYMBOL", "rnd_symbol('a', 'bb', 'ccc', null)", FIRST),
    ("SYMBOL INDEX", "rnd_symbol(40, 2, 8, 0)", FIRST),
    ("LONG256", "rnd_long256()", FIRST),
    ("GEOHASH(5b)", "rnd_geohash(5)", FIRST),
    ("GEOHASH(12b)", "rnd_geohash(12)", FIRST),
    ("GEOHASH(4c)", "rnd_geohash(20)", FIRST),
    ("GEOHASH(8c)", "rnd_geohash(40)", FIRST),
    ("BINARY", "rnd_bin(2, 40, 2)", FIRST),
    ("UUID", "rnd_uuid4()", FIRST),
    ("IPV4", "rnd_ipv4()", FIRST),
    ("VARCHAR", "rnd_varchar(1, 40, 1)", (7, 4, 0)),
    ("DOUBLE[]", "ARRAY[x * 1.0, 2.0, x + 0.5]", (9, 0, 0)),
    ("TIMESTAMP_NS", "timestamp_sequence('2020-01-01', 77L)::timestamp_ns", (9, 1, 0)),
    *(
        (f"DECIMAL({precision},{scale})", f"CAST(x % 9 AS DECIMAL({precision},{scale}))", (9, 2, 0))
        for precision, scale in ((2, 1), (4, 2), (9, 0), (18, 3), (38, 10), (76, 20))
    ),
)
_WAL: Final = "TIMESTAMP(ts) PARTITION BY DAY WAL"


@dataclass(frozen=True)
class Kind:
    """A kind of table. `create` and `change` are statements about `{}`, `columns` the values of a row.

    `step` is the time between two rows in microseconds; `waits`: rows are added that no server applies.
    """

    create: str
    columns: str = "x, rnd_symbol('a', 'bb', 'ccc')"
    since: Since = FIRST
    step: int = 400_000_000
    rows: int = 500
    change: tuple[str, ...] = ()
    later: str = ""  # values of rows after `change`; empty: as before
    waits: bool = True
    ts: str = "timestamp_sequence('{start}', {step}L)"


def kinds(version: Since) -> dict[str, Kind]:
    """Return the kinds of tables of a version by the tables' names."""
    known = [(kind, value) for kind, value, since in _TYPES if version >= since]
    every = ", ".join(f"c{i} {kind}" for i, (kind, _) in enumerate(known))
    values = ", ".join(value for _, value in known)
    plain = "CREATE TABLE {} (ts TIMESTAMP, n LONG, s SYMBOL) "
    tables = {
        "every_wal": Kind(f"CREATE TABLE {{}} (ts TIMESTAMP, {every}) {_WAL}", values),
        "every_plain": Kind(
            f"CREATE TABLE {{}} (ts TIMESTAMP, {every}) TIMESTAMP(ts) PARTITION BY DAY BYPASS WAL", values, waits=False
        ),
        "wide": Kind(
            f"CREATE TABLE {{}} (ts TIMESTAMP, u UUID, l LONG256, s SYMBOL) {_WAL}",
            "rnd_uuid4(), rnd_long256(), rnd_symbol('a', 'b')",
        ),
        "keyed": Kind(plain + _WAL + " DEDUP UPSERT KEYS(ts, s)"),
        "indexed": Kind("CREATE TABLE {} (ts TIMESTAMP, n LONG, s SYMBOL INDEX) " + _WAL),
        **{
            f"by_{unit.lower()}": Kind(plain + f"TIMESTAMP(ts) PARTITION BY {unit} WAL", step=step)
            for unit, step in (("HOUR", 60_000_000), ("WEEK", 9_000_000_000), ("MONTH", 40_000_000_000))
        },
        "by_year": Kind(plain + "TIMESTAMP(ts) PARTITION BY YEAR WAL", step=200_000_000_000),
        "flat": Kind(plain + "TIMESTAMP(ts)", waits=False),
        "untimed": Kind("CREATE TABLE {} (ts TIMESTAMP, n LONG, s SYMBOL)", waits=False),
        "empty": Kind(plain + _WAL, rows=0, waits=False),
        "filling": Kind(plain + _WAL, rows=0),
        "stated": Kind(plain + _WAL),
        "renamed": Kind(plain + _WAL, change=("RENAME TABLE {0} TO {0}_now",)),
        "truncated": Kind(plain + _WAL, change=("TRUNCATE TABLE {}",)),
        "split": Kind(plain + _WAL, rows=20_000, step=4_000_000),
        "cut": Kind(plain + _WAL, change=("ALTER TABLE {} DROP PARTITION LIST '2024-01-01'",)),
        "updated": Kind(plain + _WAL, change=("UPDATE {} SET n = -1 WHERE n < 50",)),
        "altered": Kind(
            plain + _WAL,
            change=(
                "ALTER TABLE {} ADD COLUMN fee DOUBLE",
                "ALTER TABLE {} ADD COLUMN note STRING",
                "ALTER TABLE {} ADD COLUMN other SYMBOL INDEX",
                "ALTER TABLE {} RENAME COLUMN n TO m",
                "ALTER TABLE {} ADD COLUMN gone INT",
                "ALTER TABLE {} DROP COLUMN gone",
                "ALTER TABLE {} ALTER COLUMN s ADD INDEX",
            ),
            later="x, rnd_symbol('a', 'd'), x * 0.5, rnd_str(2, 9, 1), rnd_symbol('p', 'q')",
        ),
        "parquet": Kind(
            plain + _WAL,
            since=(8, 1, 0),
            change=("ALTER TABLE {} CONVERT PARTITION TO PARQUET LIST '2024-01-01'",),
        ),
        "kept": Kind(
            plain + "TIMESTAMP(ts) PARTITION BY DAY TTL 900 WEEKS WAL",
            since=(9, 0, 0),
            change=("ALTER TABLE {} ADD COLUMN fee DOUBLE",),
            later="x, rnd_symbol('a', 'd'), x * 0.5",
        ),
        "nanos": Kind(
            f"CREATE TABLE {{}} (ts TIMESTAMP_NS, n LONG, s SYMBOL) {_WAL}",
            since=(9, 1, 0),
            ts="timestamp_sequence('{start}', {step}L)::timestamp_ns",
        ),
    }
    return {name: kind for name, kind in tables.items() if version >= kind.since}


VIEWS: Final = (
    ((9, 0, 0), "CREATE MATERIALIZED VIEW hourly AS (SELECT ts, sum(n) n FROM updated SAMPLE BY 1h) PARTITION BY DAY"),
    ((9, 3, 0), "CREATE VIEW some AS (SELECT ts, n FROM updated)"),
    ((9, 3, 0), "ALTER VIEW some AS (SELECT ts FROM updated)"),
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """A killed database of one version. `tables` are the names as they are in the end."""

    version: str
    root: Path
    tables: dict[str, Kind]

    @property
    def numbers(self) -> Since:
        """The version's numbers."""
        return numbers_of(self.version)


def numbers_of(version: str) -> Since:
    """Return the numbers of a version."""
    first, second, third = map(int, version.split("."))
    return first, second, third


def make(root: Path, version: str) -> World:
    """Make the database under `root`; three starts, the last killed with rows that nothing has applied."""
    numbers, binary = numbers_of(version), binary_of(version)
    made = kinds(numbers)
    root.mkdir(parents=True, exist_ok=True)
    chunked = {**SETTINGS, "cairo.default.sequencer.part.txn.count": "3"}
    if numbers >= (7, 4, 0):
        made["chunked"] = Kind(f"CREATE TABLE {{}} (ts TIMESTAMP, n LONG, s SYMBOL) {_WAL}")
        with PrivateServer(root, binary, settings=chunked) as server:
            server.query(made["chunked"].create.format("chunked"))
    with PrivateServer(root, binary, settings=SETTINGS) as server:
        for name, kind in made.items():
            if name != "chunked":
                server.query(kind.create.format(name))
            if kind.rows:
                _insert(server, name, kind, "2024-01-01", kind.rows, kind.columns)
        wait_until_applied(server)
        for name, kind in made.items():
            for statement in kind.change:
                server.query(statement.format(name))
        wait_until_applied(server)
        named = {name: f"{name}_now" if name == "renamed" else name for name in made}
        for name, kind in made.items():
            if kind.rows and kind.waits:
                _insert(server, named[name], kind, "2024-01-01T20:00:00.5", 50, kind.later or kind.columns)
        for since, statement in VIEWS:
            if numbers >= since:
                server.query(statement)
        wait_until_applied(server)
        server.kill()
    with PrivateServer(root, binary, settings={**SETTINGS, "cairo.wal.apply.enabled": "false"}) as server:
        for name, kind in made.items():
            if kind.waits:
                _insert(server, named[name], kind, "2024-01-02T03:00:00", 40, kind.later or kind.columns)
                _insert(server, named[name], kind, "2024-01-09", 30, kind.later or kind.columns)
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    return World(version, root, {named[name]: kind for name, kind in made.items()})


def _insert(server: PrivateServer, name: str, kind: Kind, start: str, rows: int, columns: str) -> None:
    ts = kind.ts.format(start=start, step=kind.step)
    statement = f"INSERT INTO {name} SELECT {ts}, {columns} FROM long_sequence({rows})"
    try:
        server.query(statement)
    except psycopg.Error as error:
        raise AssertionError(f"{statement}: {error}") from error
