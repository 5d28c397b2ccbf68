"""Tables with every column type of QuestDB 9.1.0, in the forms that a partition can have, made by the real server."""

import time
from pathlib import Path
from typing import Final

from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer

SETTINGS: Final = {
    "cairo.wal.purge.interval": "600000",
    "cairo.writer.data.append.page.size": "16384",
    "cairo.o3.column.memory.size": "16384",
    "cairo.o3.partition.split.min.size": "20000",
    "cairo.o3.last.partition.max.splits": "15",
}
FIXED: Final = {
    "bo": ("BOOLEAN", "x % 2 = 0"),
    "by": ("BYTE", "rnd_byte(1, 100)"),
    "sh": ("SHORT", "rnd_short(1, 999)"),
    "ch": ("CHAR", "rnd_char()"),
    "i4": ("INT", "x::int"),
    "i8": ("LONG", "x"),
    "da": ("DATE", "rnd_date(to_date('2020', 'yyyy'), to_date('2021', 'yyyy'), 0)"),
    "tm": ("TIMESTAMP", "timestamp_sequence('2020-01-01', 77L)"),
    "tn": ("TIMESTAMP_NS", "timestamp_sequence('2020-01-01', 77L)::timestamp_ns"),
    "f4": ("FLOAT", "rnd_float() + 1"),
    "f8": ("DOUBLE", "rnd_double() + 1"),
    "l2": ("LONG256", "rnd_long256()"),
    "g1": ("GEOHASH(5b)", "rnd_geohash(5)"),
    "g2": ("GEOHASH(12b)", "rnd_geohash(12)"),
    "g4": ("GEOHASH(4c)", "rnd_geohash(20)"),
    "g8": ("GEOHASH(8c)", "rnd_geohash(40)"),
    "uu": ("UUID", "rnd_uuid4()"),
    "ip": ("IPV4", "rnd_ipv4()"),
}
VARIABLE: Final = {
    "st": ("STRING", "rnd_str(3, 20, 1)"),
    "vc": ("VARCHAR", "rnd_varchar(1, 40, 1)"),
    "bi": ("BINARY", "rnd_bin(2, 40, 2)"),
    "ar": ("DOUBLE[]", "ARRAY[x * 1.0, 2.0, x + 0.5]"),
}
SYMBOLS: Final = {"sy": ("SYMBOL", "rnd_symbol('a', 'bb', 'ccc')"), "sx": ("SYMBOL INDEX", "rnd_symbol(40, 2, 8, 0)")}
COLUMNS: Final = {**FIXED, **VARIABLE, **SYMBOLS}
DAYS: Final = tuple(f"2024-01-0{day}" for day in range(1, 6))
ROWS: Final = 400
"""Rows of a day."""
_VALUES: Final = ", ".join(value for _, value in COLUMNS.values())
_TYPES: Final = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
PARQUET: Final = "parquet"
"""Name of a table whose third day is converted to Parquet."""
LATE: Final = "late_d DOUBLE, late_v VARCHAR, late_s STRING, late_x SYMBOL INDEX"


def statements(name: str, how: str, rows: int = ROWS) -> tuple[str, ...]:
    """Return what makes a table: four days, late columns, a fifth day, one day rewritten by rows out of order.

    Empty text stands for: wait until everything is applied.
    """
    step = 86_400_000_000 // rows
    late = ", ".join(["x * 0.5", "rnd_varchar(1, 30, 2)", "rnd_str(2, 9, 1)", "rnd_symbol('p', 'q')"])
    return (
        f"CREATE TABLE {name} (ts TIMESTAMP, {_TYPES}) TIMESTAMP(ts) {how}",
        f"INSERT INTO {name} SELECT timestamp_sequence('{DAYS[0]}', {step}L), {_VALUES} FROM long_sequence({4 * rows})",
        "",
        *(f"ALTER TABLE {name} ADD COLUMN {column}" for column in LATE.split(", ")),
        f"INSERT INTO {name} SELECT timestamp_sequence('{DAYS[4]}', {step}L), {_VALUES}, {late} "
        f"FROM long_sequence({rows})",
        "",
        *_out_of_order(name, how, late),
    )


def _out_of_order(name: str, how: str, late: str) -> tuple[str, ...]:
    """Return what rewrites the second day; a table without partitions takes no such row."""
    if "PARTITION" not in how:
        return ()
    rows = f"timestamp_sequence('{DAYS[1]}T00:00:01', 60000000L), {_VALUES}, {late} FROM long_sequence(10)"
    more = f"ALTER TABLE {name} CONVERT PARTITION TO PARQUET LIST '{DAYS[2]}'" if name == PARQUET else ""
    return (f"INSERT INTO {name} SELECT {rows}", "", more, "")


def settle(server: PrivateServer) -> None:
    """Wait until everything is applied."""
    deadline = time.monotonic() + 60
    while any(row[0] != row[1] for row in server.query("SELECT writerTxn, sequencerTxn FROM wal_tables()")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def make(root: Path, binary: ServerBinary, tables: dict[str, str], rows: int = ROWS) -> None:
    """Make `tables` (name: partitioning) under `root`, `rows` a day, and kill the server."""
    root.mkdir(parents=True, exist_ok=True)
    with PrivateServer(root, binary, settings=SETTINGS) as server:
        for name, how in tables.items():
            for statement in statements(name, how, rows):
                if statement:
                    server.query(statement)
                else:
                    settle(server)
        server.kill()
    (root / "db" / "tables.d.lock").touch()
