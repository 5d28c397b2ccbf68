"""Healthy tables of every shape that a check by lengths could take for damage, in one database."""

import time
from pathlib import Path

from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer

_SETTINGS = {
    "cairo.wal.purge.interval": "1000",
    "cairo.writer.data.append.page.size": "16384",
    "cairo.o3.column.memory.size": "16384",
    "cairo.o3.partition.split.min.size": "2000",
    "cairo.o3.last.partition.max.splits": "15",
}
_COLUMNS = (
    "ts TIMESTAMP, n LONG, s SYMBOL INDEX, px DOUBLE, v VARCHAR, txt STRING, b BINARY, u UUID, l LONG256, "
    "g GEOHASH(4c), ip IPV4, bo BOOLEAN, sh SHORT"
)
_VALUES = (
    "x, rnd_symbol('a','b','c'), x * 1.0, rnd_varchar(1,20,1), rnd_str(3,9,1), rnd_bin(2,20,2), rnd_uuid4(), "
    "rnd_long256(), rnd_geohash(20), rnd_ipv4(), rnd_boolean(), rnd_short()"
)
_DAYS = "timestamp_sequence('2024-01-01', 400000000L)"


def _table(name: str, how: str) -> str:
    return f"CREATE TABLE {name} ({_COLUMNS}) TIMESTAMP(ts) {how}"


def _insert(name: str, start: str, step: int, rows: int, more: str = "") -> str:
    return (
        f"INSERT INTO {name} SELECT timestamp_sequence('{start}', {step}L), {_VALUES}{more} FROM long_sequence({rows})"
    )


def _by_unit() -> list[str]:
    found = []
    for unit in ("HOUR", "DAY", "WEEK", "MONTH", "YEAR"):
        for wal in ("WAL", "BYPASS WAL"):
            name = f"by_{unit.lower()}_{'wal' if wal == 'WAL' else 'plain'}"
            found += [
                _table(name, f"PARTITION BY {unit} {wal}"),
                _insert(name, "2023-12-30T22:00:00", 25_200_000_000, 60),
                _insert(name, "2023-12-31T05:00:00", 18_000_000_000, 30),
            ]
    return found


WAIT = ""
"""Stands for: wait until everything is applied."""
_STATEMENTS = (
    *_by_unit(),
    _table("flat", ""),
    _insert("flat", "2024-01-01", 1_000_000, 500),
    "ALTER TABLE flat ADD COLUMN fee DOUBLE",
    "ALTER TABLE flat DROP COLUMN txt",
    f"CREATE TABLE untimed ({_COLUMNS})",
    _insert("untimed", "2024-01-01", 1_000_000, 500),
    _table("empty", "PARTITION BY DAY WAL"),
    _table("empty_flat", ""),
    _table("split", "PARTITION BY DAY WAL"),
    _insert("split", "2024-01-01", 1_000_000, 80_000),
    WAIT,
    "ALTER TABLE split ADD COLUMN fee DOUBLE",
    "ALTER TABLE split ADD COLUMN note VARCHAR",
    "ALTER TABLE split ADD COLUMN other SYMBOL INDEX",
    _insert("split", "2024-01-01T20:00:00", 900_000, 100, ", 1.0, 'x', 'y'"),
    WAIT,
    _insert("split", "2024-01-01T22:00:00.5", 900_000, 50, ", 1.0, 'x', 'y'"),
    _table("altered", "PARTITION BY DAY WAL"),
    _insert("altered", "2024-01-01", 400_000_000, 800),
    WAIT,
    "ALTER TABLE altered ADD COLUMN fee DOUBLE",
    "ALTER TABLE altered ADD COLUMN other SYMBOL INDEX",
    "ALTER TABLE altered ADD COLUMN note VARCHAR",
    "ALTER TABLE altered ADD COLUMN list DOUBLE[]",
    "ALTER TABLE altered DROP COLUMN txt",
    "ALTER TABLE altered RENAME COLUMN n TO m",
    "ALTER TABLE altered ALTER COLUMN px TYPE FLOAT",
    "ALTER TABLE altered ALTER COLUMN v TYPE STRING",
    "ALTER TABLE altered ALTER COLUMN s DROP INDEX",
    WAIT,
    "INSERT INTO altered (ts, m, fee) VALUES ('2024-01-04T17:00:00', 1, 2.0), ('2024-01-02T00:00:01', 1, 2.0)",
    "ALTER TABLE altered ALTER COLUMN s ADD INDEX",
    "UPDATE altered SET fee = 3.0 WHERE m < 50",
    "ALTER TABLE altered ALTER COLUMN s SYMBOL CAPACITY 4096",
    _table("parquet", "PARTITION BY DAY WAL"),
    _insert("parquet", "2024-01-01", 400_000_000, 800),
    WAIT,
    "ALTER TABLE parquet CONVERT PARTITION TO PARQUET LIST '2024-01-01', '2024-01-02'",
    _table("parquet_all", "PARTITION BY DAY WAL"),
    _insert("parquet_all", "2024-01-01", 400_000_000, 800),
    WAIT,
    "ALTER TABLE parquet_all ADD COLUMN fee DOUBLE",
    "ALTER TABLE parquet_all CONVERT PARTITION TO PARQUET WHERE ts > 0",
    _table("detached", "PARTITION BY DAY WAL"),
    _insert("detached", "2024-01-01", 400_000_000, 800),
    WAIT,
    "ALTER TABLE detached DETACH PARTITION LIST '2024-01-01'",
    "ALTER TABLE detached DROP PARTITION LIST '2024-01-04'",
    _table("truncated", "PARTITION BY DAY WAL"),
    _insert("truncated", "2024-01-01", 400_000_000, 800),
    WAIT,
    "TRUNCATE TABLE truncated",
    "CREATE TABLE nanos (ts TIMESTAMP_NS, n LONG, s SYMBOL) TIMESTAMP(ts) PARTITION BY DAY WAL",
    f"INSERT INTO nanos SELECT cast({_DAYS} AS TIMESTAMP_NS), x, 'a' FROM long_sequence(500)",
    "INSERT INTO nanos SELECT cast(timestamp_sequence('2024-01-01T10:00:00', 400000000L) AS TIMESTAMP_NS), x, 'b' "
    "FROM long_sequence(50)",
    "CREATE TABLE dedup (ts TIMESTAMP, s SYMBOL, v DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, s)",
    f"INSERT INTO dedup SELECT {_DAYS}, 'a', x FROM long_sequence(500)",
    WAIT,
    f"INSERT INTO dedup SELECT {_DAYS}, 'a', x + 1 FROM long_sequence(600)",
    "CREATE TABLE short_lived (ts TIMESTAMP, v DOUBLE) TIMESTAMP(ts) PARTITION BY HOUR TTL 2 HOURS WAL",
    f"INSERT INTO short_lived SELECT {_DAYS}, x FROM long_sequence(500)",
    WAIT,
    "INSERT INTO short_lived VALUES ('2024-01-03T12:00:00', 1.0)",
    "CREATE TABLE late (ts TIMESTAMP, a DOUBLE, b VARCHAR, c SYMBOL INDEX) TIMESTAMP(ts) PARTITION BY DAY WAL",
    f"INSERT INTO late (ts) SELECT {_DAYS} FROM long_sequence(500)",
    "INSERT INTO late SELECT timestamp_sequence('2024-01-01T05:00:00', 30000000L), x, rnd_varchar(1,30,2), 'q' "
    "FROM long_sequence(300)",
    "CREATE MATERIALIZED VIEW hourly AS (SELECT ts, avg(v) v FROM dedup SAMPLE BY 1h) PARTITION BY DAY",
    "CREATE TABLE gone (ts TIMESTAMP, v DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL",
    "DROP TABLE gone",
    "CREATE TABLE old_name (ts TIMESTAMP, v DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL",
    "INSERT INTO old_name VALUES ('2024-01-01', 1.0)",
    WAIT,
    "RENAME TABLE old_name TO new_name",
    WAIT,
)


def make_shapes(root: Path, binary: ServerBinary) -> set[str]:
    """Make the tables in `root`, kill the server, and return their names."""
    root.mkdir(parents=True)
    with PrivateServer(root, binary, settings=_SETTINGS) as server:
        for statement in _STATEMENTS:
            if statement:
                server.query(statement)
            else:
                _settle(server)
        time.sleep(1.5)  # a purge of what is not used any more
        names = {str(row[0]) for row in server.query("SELECT table_name FROM tables()")}
        server.kill()
    (root / "db" / "tables.d.lock").touch()
    return {name for name in names if not name.startswith(("sys.", "telemetry", "_"))}


def _settle(server: PrivateServer) -> None:
    deadline = time.monotonic() + 60
    while any(row[0] != row[1] for row in server.query("SELECT writerTxn, sequencerTxn FROM wal_tables()")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
