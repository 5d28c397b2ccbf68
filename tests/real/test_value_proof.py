"""Proof by values on a real server: what is predicted before a start is what is found, and each planted fault shows."""

import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from console.questdb.layout import DatabaseRoot
from console.records import of_json, to_json
from console.recovery.actions.convert_table.steps import _plain_claims
from console.recovery.codes import ClaimKey
from console.recovery.model import Claim
from console.recovery.rehearsal.canary import Shape, canary_claim, column_claim
from console.recovery.server.expectation import Expectation, expectation_of
from console.recovery.server.jvm import ServerBinary
from console.recovery.server.private_server import PrivateServer
from console.recovery.server.sql import Server
from console.recovery.server.value_claims import sums_before, value_claims
from console.recovery.server.value_sums import TableSums
from console.recovery.server.verification import row_claims, table_claims, wait_until_applied
from console.recovery.steps.services import sweep_claim
from console.settings import QuestDBSettings

COLUMNS = (
    "yes BOOLEAN, tiny BYTE, small SHORT, letter CHAR, whole INT, large LONG, day DATE, narrow FLOAT, price DOUBLE, "
    "old STRING, text VARCHAR, sym SYMBOL, id UUID, wide LONG256, ip IPv4, spot GEOHASH(8c), raw BINARY, "
    "levels DOUBLE[], row LONG, ts TIMESTAMP"
)
VALUES = (
    "rnd_boolean(), rnd_byte(), rnd_short(), rnd_char(), rnd_int(0, 1000, 2), rnd_long(0, 9, 2), "
    "rnd_date(to_date('2020', 'yyyy'), to_date('2021', 'yyyy'), 2), rnd_float(2), rnd_double(2), rnd_str(2, 30, 2), "
    "rnd_varchar(2, 40, 2), rnd_symbol('a', 'bb', 'ccc', null), rnd_uuid4(), rnd_long256(), rnd_ipv4(), "
    "rnd_geohash(40), rnd_bin(2, 20, 2), rnd_double_array(1), x"
)
DAY = "2025-03-0"


def rows(count: int, day: int, seconds: int = 0, step: int = 1_000_000) -> str:
    """Return a SELECT of `count` random rows from a second of a day on."""
    at = f"timestamp_sequence(dateadd('s', {seconds}, '{DAY}{day}'), {step})"
    return f"SELECT {VALUES}, {at} FROM long_sequence({count})"


def changed(table: str, statement: str) -> list[str]:
    """Return the statements that put what `statement` selects in place of the rows of the second day."""
    return [
        f"CREATE TABLE {table}_kept AS ({statement}) TIMESTAMP(ts) PARTITION BY DAY WAL",
        f"ALTER TABLE {table} DROP PARTITION LIST '{DAY}2'",
        f"INSERT INTO {table} SELECT * FROM {table}_kept",
    ]


_SECOND = "ts IN '2025-03-02'"
_WITHOUT = f"{_SECOND} AND NOT (row = 7 AND ts < '2025-03-02T00:00:20')"
_CROSSED = "UPDATE rows_crossed SET row = CASE WHEN row = 7 THEN 8 ELSE 7 END WHERE row IN (7, 8)"
_DOUBLED = f"INSERT INTO {{0}} SELECT * FROM {{0}} WHERE {_SECOND} LIMIT 1"
# A fault of a table, planted by SQL after all was applied; what must fail; a word of what it says.
FAULTS: dict[str, tuple[list[str], ClaimKey, str]] = {
    "zeroed": ([f"UPDATE zeroed SET whole = 0 WHERE {_SECOND}"], ClaimKey.VALUES, "whole differs"),
    "zeroed_seen": ([f"UPDATE zeroed_seen SET whole = 0 WHERE {_SECOND}"], ClaimKey.VALUES_READ, "whole differs"),
    "double_zeroed": ([f"UPDATE double_zeroed SET price = 0 WHERE {_SECOND}"], ClaimKey.VALUES, "price differs"),
    "text_changed": (["UPDATE text_changed SET text = 'x' WHERE row = 7"], ClaimKey.VALUES, "text differs"),
    "symbol_changed": (["UPDATE symbol_changed SET sym = 'other' WHERE row = 7"], ClaimKey.VALUES, "sym differs"),
    "id_gone": (["UPDATE id_gone SET id = null WHERE row = 7"], ClaimKey.VALUES, "id differs"),
    "row_removed": (changed("row_removed", f"SELECT * FROM row_removed WHERE {_WITHOUT}"), ClaimKey.VALUES, "rows"),
    "row_doubled": ([_DOUBLED.format("row_doubled")], ClaimKey.VALUES, "rows"),
    "one_for_another": (
        [
            *changed("one_for_another", f"SELECT * FROM one_for_another WHERE {_WITHOUT}"),
            "INSERT INTO one_for_another SELECT * FROM one_for_another_kept LIMIT 1",
        ],
        ClaimKey.VALUES,
        "differs",
    ),
    "rows_crossed": ([_CROSSED], ClaimKey.VALUES, "its values are in other rows"),
    "partition_gone": (["ALTER TABLE partition_gone DROP PARTITION LIST '2025-03-02'"], ClaimKey.VALUES, "not there"),
    "keyed_changed": ([f"UPDATE keyed_changed SET price = 5 WHERE {_SECOND}"], ClaimKey.VALUES, "price differs"),
    "keyed_doubled": (
        ["ALTER TABLE keyed_doubled DEDUP DISABLE", _DOUBLED.format("keyed_doubled")], ClaimKey.VALUES, "rows",
    ),
}  # fmt: skip
WELL = ("plain", "keyed", "keyed_by_two")
OTHERS = ("unlisted", "halted", "below", "unread", "counted", "earlier", "later", "elsewhere", "missing", "aging")


def _halted(world: "World") -> tuple[Claim, ...]:
    world.server.query("ALTER TABLE halted SUSPEND WAL")
    world.server.query(f"INSERT INTO halted {rows(5, 3, 100)}")
    expected = expectation_of(world.database.table("halted"))
    return table_claims(world.sql, expected, world.sql.wal_table("halted"))


def _gone(world: "World", table: str, *, row_known: bool) -> tuple[Claim, ...]:
    row = world.sql.wal_table(table) if row_known else None
    world.server.query(f"DROP TABLE {table}")
    return table_claims(world.sql, world.expected[table], row or world.sql.wal_table(table))


def _added(world: "World", table: str, select: str) -> list[Claim]:
    assert all(claim.ok for claim in row_claims(world.sql, world.expected[table]))
    world.server.query(f"INSERT INTO {table} {select}")
    world.settle(table)
    return row_claims(world.sql, world.expected[table])


def _missing(world: "World") -> list[Claim]:
    (file,) = world.database.table("missing").path.glob("2025-03-02*/price.d")
    file.unlink()
    return [claim for claim in world.claims("missing") if "could not open" in claim.found]


def _written(world: "World", ask: Callable[[Server, Shape, str, Callable[[], None]], Claim]) -> list[Claim]:
    return [ask(world.sql, Shape.of(world.database.table("halted")), "walmedic-mark", lambda: None)]


# What else the server is asked: a fault each, after which its claim must fail.
SERVER: dict[ClaimKey, Callable[["World"], Sequence[Claim]]] = {
    ClaimKey.LISTED: lambda world: _gone(world, "unlisted", row_known=False),
    ClaimKey.READABLE: lambda world: _gone(world, "unread", row_known=True),
    ClaimKey.SUSPENDED: _halted,
    ClaimKey.APPLIED: _halted,
    ClaimKey.SEQUENCER: lambda world: table_claims(world.sql, world.expected["below"], world.sql.wal_table("below")),
    ClaimKey.ROWS: lambda world: _added(world, "counted", rows(1, 2)),
    ClaimKey.MIN: lambda world: _added(world, "earlier", rows(1, 1, -5)),
    ClaimKey.MAX: lambda world: _added(world, "later", rows(1, 3, 500)),
    ClaimKey.PARTITIONS: lambda world: _added(world, "elsewhere", rows(1, 5)),
    ClaimKey.VALUES_READ: _missing,
    ClaimKey.SWEEP: lambda world: [*_halted(world), sweep_claim(world.sql, world.expected["halted"])],
    ClaimKey.PLAIN: lambda world: _plain_claims(world.sql, world.expected["plain"]),
    ClaimKey.CANARY: lambda world: [*_halted(world), *_written(world, canary_claim)],
    ClaimKey.NEW_COLUMN: lambda world: [*_halted(world), *_written(world, column_claim)],
}


@dataclass
class World:
    """A server that has applied everything; what was expected of each table, and predicted of its values, before."""

    database: DatabaseRoot
    server: PrivateServer
    expected: dict[str, Expectation]
    sums: dict[str, TableSums | str]

    def claims(self, table: str) -> list[Claim]:
        """Return the claims about the values of a table as it is now."""
        return value_claims(self.sql, self.database.table(table), self.expected[table], self.sums[table])

    @property
    def sql(self) -> Server:
        """The server as walmedic asks it."""
        return Server(QuestDBSettings(host="127.0.0.1", pg_port=self.server.pg_port))

    def settle(self, table: str) -> None:
        """Wait until all that was written to a table is applied."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            row = self.sql.wal_table(table)
            if row is not None and int(row["writerTxn"]) >= int(row["sequencerTxn"]):
                return
            time.sleep(0.05)
        raise AssertionError(f"{table} is not applied")


def _lives(table: str) -> str:
    return " TTL 1 DAY" if table == "aging" else ""


def _keys(table: str) -> str:
    if table.startswith("keyed_by_two"):
        return " DEDUP UPSERT KEYS(ts, sym)"
    return " DEDUP UPSERT KEYS(ts)" if table.startswith("keyed") else ""


@pytest.fixture(scope="module")
def world(questdb: ServerBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root: Path = tmp_path_factory.mktemp("values")
    tables = [*WELL, *FAULTS, *OTHERS]
    with PrivateServer(root, questdb) as server:
        for table in tables:
            server.query(
                f"CREATE TABLE {table} ({COLUMNS}) TIMESTAMP(ts) PARTITION BY DAY{_lives(table)} WAL{_keys(table)}"
            )
            server.query(f"INSERT INTO {table} {rows(50, 1)}")
            server.query(f"INSERT INTO {table} {rows(50, 2)}")
        for table in tables:
            server.query(f"SELECT wait_wal_table('{table}')")
    with PrivateServer(root, questdb, settings={"cairo.wal.apply.enabled": "false"}) as server:
        for table in tables:  # out of order, into both partitions and a new one; under dedup over rows that are there
            server.query(f"INSERT INTO {table} {rows(40, 2, 30)}")
            server.query(f"INSERT INTO {table} {rows(30, 2, 20, 500_000)}")
            server.query(f"INSERT INTO {table} {rows(10, 3)}")
        server.query(f"INSERT INTO aging {rows(10, 6)}")
    database = DatabaseRoot.locate(root)
    found = [database.table(table) for table in tables]
    expected = {each.raw_name: expectation_of(each) for each in found}
    sums = {each.raw_name: sums_before(each) for each in found}
    log = database.table("below").sequencer / "_txnlog"
    log.write_bytes(log.read_bytes()[:4] + struct.pack("<q", 1) + log.read_bytes()[12:])
    with PrivateServer(root, questdb, settings={"dev.mode.enabled": "true"}) as server:
        built = World(database, server, expected, sums)
        for table in tables:
            if table != "below":
                wait_until_applied(built.sql, expected[table], lambda done, total: None)
        yield built


def test_what_the_ttl_removes_with_the_next_rows_is_not_missed(world: World) -> None:
    assert world.server.query("SELECT count() FROM aging") == [(10,)]
    claims = [*table_claims(world.sql, world.expected["aging"], world.sql.wal_table("aging")), *world.claims("aging")]
    assert [(claim.key, claim.found) for claim in claims if not claim.ok] == []
    assert [claim.found for claim in claims if claim.key is ClaimKey.NOT_COMPARED] == [
        "the TTL of the table may remove it"
    ] * 2


@pytest.mark.parametrize("table", WELL)
def test_what_was_predicted_is_found(world: World, table: str) -> None:
    sums = world.sums[table]
    assert isinstance(sums, TableSums)
    assert not sums.open_
    assert [each.name for each in sums.partitions] == [f"{DAY}2", f"{DAY}3"]
    assert of_json(TableSums, to_json(sums)) == sums
    claims = world.claims(table)
    assert [(claim.key, claim.found) for claim in claims if not claim.ok or claim.noted] == []
    assert {claim.key for claim in claims} == {ClaimKey.VALUES, ClaimKey.VALUES_READ}
    proven = table_claims(world.sql, world.expected[table], world.sql.wal_table(table))
    assert all(claim.ok for claim in proven), proven


@pytest.mark.parametrize("table", FAULTS)
def test_each_planted_fault_fails_a_claim(world: World, table: str) -> None:
    statements, key, word = FAULTS[table]
    assert all(claim.ok for claim in world.claims(table))
    for statement in statements:
        world.server.query(statement)
        if not statement.startswith("CREATE"):
            world.settle(table)
        else:
            world.settle(f"{table}_kept")
    failed = {claim.key: claim.found for claim in world.claims(table) if not claim.ok}
    assert word in failed.get(key, ""), failed


@pytest.mark.parametrize("key", SERVER)
def test_what_the_server_says_otherwise_fails_its_claim(world: World, key: ClaimKey) -> None:
    claims = SERVER[key](world)
    assert key in {claim.key for claim in claims if not claim.ok}, claims
