"""A database of many types, units and structure changes, and what SQL said of it, for the tests of the readers."""

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from console.questdb.layout import DatabaseRoot, TableDirectory
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer

PART = 5

CREATE = (
    "create table plain (ts timestamp, sym symbol, price double, s varchar, str string, l long) timestamp(ts) "
    "partition by day wal",
    "create table wide (ts timestamp, bo boolean, by byte, sh short, ch char, i int, d date, f float, l256 long256, "
    "g1 geohash(4b), g2 geohash(12b), g3 geohash(20b), g4 geohash(40b), bin binary, u uuid, ip ipv4, vc varchar, "
    "st string, ar double[], sy symbol index) timestamp(ts) partition by week wal",
    "create table altered (ts timestamp, sym symbol index, v int) timestamp(ts) partition by hour wal "
    "dedup upsert keys(ts, sym)",
    "create table emptied (ts timestamp, v int) timestamp(ts) partition by month wal",
    "create table old_name (ts timestamp, v int) timestamp(ts) partition by year wal",
    "create table nano (ts timestamp_ns, v int) timestamp(ts) partition by hour wal",
    "create table shuffled (ts timestamp, v long, sy symbol) timestamp(ts) partition by hour wal",
    "create table flat (ts timestamp, v int) timestamp(ts) partition by none bypass wal",
    "create table gone (ts timestamp, v int) timestamp(ts) partition by day wal",
)
FILL = (
    *(
        f"insert into plain select timestamp_sequence('2024-01-{i + 1:02d}T{i:02d}', 1000000), "
        "rnd_symbol('a','b','c',null), rnd_double(), rnd_varchar(1,20,2), rnd_str(1,12,1), x from long_sequence(100)"
        for i in range(12)
    ),
    "insert into wide select timestamp_sequence('2023-12-28', 3600000000), rnd_boolean(), rnd_byte(), rnd_short(), "
    "rnd_char(), rnd_int(), rnd_date(), rnd_float(), rnd_long256(), rnd_geohash(4), rnd_geohash(12), rnd_geohash(20), "
    "rnd_geohash(40), rnd_bin(1, 40, 2), rnd_uuid4(), rnd_ipv4(), rnd_varchar(1, 40, 3), rnd_str(1, 40, 3), "
    "rnd_double_array(1, 1), rnd_symbol(50, 1, 9, 1) from long_sequence(500)",
    *(
        f"insert into altered select timestamp_sequence('2024-01-0{i + 1}', 1800000000), rnd_symbol('k1','k2'), x::int "
        "from long_sequence(8)"
        for i in range(5)
    ),
    "alter table altered add column extra symbol",
    "insert into altered values ('2024-01-09', 'k1', 5, 'zz')",
    "update altered set v = 7 where sym = 'k1'",
    "alter table altered alter column v type long",
    "alter table altered rename column extra to more",
    "insert into altered values ('2024-01-10', 'k3', 6, 'zy')",
    "alter table altered alter column more add index",
    "alter table altered drop column more",
    "alter table altered dedup disable",
    "alter table altered dedup enable upsert keys(ts)",
    "alter table altered set param maxUncommittedRows = 1000",
    "insert into altered values ('2024-01-11', 'k4', 6)",
    "insert into emptied values ('2024-01-01', 1)",
    "truncate table emptied",
    "insert into emptied values ('2024-02-02', 2), ('2024-03-03', 3)",
    "insert into old_name values ('2024-01-01', 1), ('2025-01-01', 1)",
    "rename table old_name to renamed",
    "insert into nano values ('2024-01-01T00:00:00.000000001Z', 1), ('2024-01-01T05:00:00.000000002Z', 2)",
    *(
        f"insert into shuffled select ('2024-05-01T0{i}'::timestamp + (rnd_long(0, 7200000000, 0)))::timestamp, x, "
        "rnd_symbol(20, 3, 5, 0) from long_sequence(3000)"
        for i in (4, 2, 3, 1)
    ),
    "insert into flat values ('2024-01-01', 1), ('2024-01-05', 2)",
    "create materialized view hourly as (select ts, sym, avg(price) a from plain sample by 1h) partition by day",
    "insert into plain values ('2024-02-03T04:05:06.000007', 'd', 1.5, 'x', 'y', 1)",
    "insert into gone values ('2024-01-01', 1)",
    "drop table gone",
)
TABLES = ("plain", "wide", "altered", "emptied", "renamed", "nano", "shuffled", "hourly")


@dataclass(frozen=True)
class World:
    """A database with a stopped server's files, and what SQL said while it ran."""

    root: DatabaseRoot
    logs: dict[str, list[tuple[Any, ...]]]
    partitions: dict[str, list[tuple[Any, ...]]]
    counts: dict[str, int]
    spans: dict[str, tuple[datetime, datetime]]
    tables: dict[str, tuple[Any, ...]]

    def table(self, name: str) -> TableDirectory:
        """Return a table by name."""
        return self.root.table(name)


def settle(server: PrivateServer, timeout: float = 30) -> None:
    """Wait until all that was written is applied, and views are refreshed."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        behind = server.query("select name, writerTxn, sequencerTxn, suspended from wal_tables()")
        assert not any(row[3] for row in behind), behind
        views = server.query("select base_table_txn, refresh_base_table_txn from materialized_views()")
        if all(row[1] == row[2] for row in behind) and all(row[0] == row[1] for row in views):
            return
        time.sleep(0.05)
    raise AssertionError(f"not applied in time: {behind}")


def grown(root: Path, binary: ServerBinary, settings: dict[str, str]) -> World:
    """Carry the statements out on a new server, and return what it says of them."""
    with PrivateServer(root, binary, settings={"cairo.wal.purge.interval": "1000000", **settings}) as server:
        for statement in CREATE:
            server.query(statement)
        with server.connect() as first, server.connect() as second:
            for at, statement in enumerate(FILL):
                (first, second)[at % 2].execute(statement.encode())
        settle(server)
        listed = server.query("select table_name, id, directoryName, walEnabled, dedup, partitionBy from tables()")
        return World(
            root=DatabaseRoot.locate(root),
            logs={
                name: server.query(
                    f"select sequencerTxn, timestamp, walId, segmentId, segmentTxn, structureVersion, minTimestamp, "
                    f"maxTimestamp, rowCount from wal_transactions('{name}')"
                )
                for name in TABLES
            },
            partitions={
                name: server.query(f"select name, minTimestamp, maxTimestamp, numRows from table_partitions('{name}')")
                for name in (*TABLES, "flat")
            },
            counts={name: server.query(f"select count() from {name}")[0][0] for name in (*TABLES, "flat")},
            spans={
                name: server.query(f"select min(ts)::timestamp, max(ts)::timestamp from {name}")[0]
                for name in (*TABLES, "flat")
            },
            tables={row[0]: row for row in listed},
        )
